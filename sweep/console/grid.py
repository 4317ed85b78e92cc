"""Tables whose numbers are never cut: columns of words shrink, and on a narrow terminal each row is
a paragraph.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import chain, product
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from sweep.console.terminal import Hanging, shown

SHORTEST = 8  # characters that a column of words keeps


class Grid:
    """Rows under heads, as a table where its numbers fit beside one another.

    Args:
        heads: one a column.
        words: heads of the columns whose text may be folded; all others hold numbers and short
            names.
        cut: of these the heads whose text is cut instead, so that a row is one line.
        right: numbers stand at the right of their columns.
    """

    def __init__(
        self,
        *heads: str,
        words: Collection[str] = (),
        cut: Collection[str] = (),
        right: bool = False,
    ) -> None:
        self._heads, self._words, self._cut, self._right = heads, words, cut, right
        self._rows: list[list[str]] = []

    def add(self, *cells: object) -> None:
        """One row; cells that are left out at its end are empty."""
        texts = [shown(str(c)) for c in cells]
        self._rows.append(texts + [""] * (len(self._heads) - len(texts)))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        # whole words before broken ones, and lines before a space between two columns
        for whole, (edges, between) in product((True, False), ((4, 3), (0, 1))):
            room = options.max_width - edges - between * (len(self._heads) - 1)
            widths = self._widths(room, whole)
            if widths:
                yield self._table(widths, bool(edges))
                return
        for row in self._rows:
            yield from self._paragraph(row, options.max_width)

    def _widths(self, room: int, whole: bool) -> list[int]:
        """The columns' widths in so many characters, words ``whole`` or broken; none where they do
        not fit.
        """
        widths, wanted = [], {}
        for i, head in enumerate(self._heads):
            column = [head, *(row[i] for row in self._rows)]
            widths.append(max(map(cell_len, column)))
            if head in self._words:
                kept = column if whole and head not in self._cut else filter(_number, column)
                words = chain.from_iterable(map(str.split, kept))
                least = min(widths[i], max([SHORTEST, *map(cell_len, words)]))
                wanted[i] = widths[i] - least
                widths[i] = least
        room -= sum(widths)
        for left, i in enumerate(sorted(wanted, key=lambda i: wanted[i])):
            extra = min(wanted[i], max(room, 0) // (len(wanted) - left))
            widths[i] += extra
            room -= extra
        return widths if room >= 0 else []

    def _table(self, widths: Sequence[int], lines: bool) -> Table:
        table = Table(
            box=box.HEAVY_HEAD if lines else None,
            padding=(0, 1) if lines else (0, 1, 0, 0),
            pad_edge=lines,
        )
        for head, width in zip(self._heads, widths, strict=True):
            side: Literal["left", "right"] = (
                "right" if self._right and head not in self._words else "left"
            )
            whole = head in self._cut or head not in self._words
            table.add_column(
                head,
                width=width,
                justify=side,
                no_wrap=whole,
                overflow="ellipsis" if whole else "fold",
            )
        for row in self._rows:
            table.add_row(*map(Text, row))
        return table

    def _paragraph(self, row: Sequence[str], width: int) -> Iterator[RenderableType]:
        """The first cell, then the others under it, each with its head, as many a line as fit."""
        yield Hanging(Text(row[0].strip(), "bold"), 0, 2)
        line = ""
        for head, cell in zip(self._heads[1:], row[1:], strict=True):
            pair = f"{head} {cell.strip()}" if cell.strip() else ""
            if line and pair and cell_len(line) + cell_len(pair) + 6 > width:
                yield Hanging(Text(line), 2, 4)
                line = ""
            line += f"  {pair}" if line and pair else pair
        if line:
            yield Hanging(Text(line), 2, 4)


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
