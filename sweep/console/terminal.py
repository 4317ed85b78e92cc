"""What goes to a terminal: names that strangers chose are shown, and never obeyed as control
sequences.
"""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.text import Text

LONGEST = 2000  # characters of one message


class Plain(Console):
    """A console that escapes control characters in whatever text it is given."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str("\n".join(map(shown, text.split("\n"))), **how)


class Hanging:
    """Text whose first line stands at one indent, and the lines that it wraps to at another, no
    smaller one.
    """

    def __init__(self, text: Text, first: int, rest: int) -> None:
        self._text, self._first, self._rest = text, first, rest

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        # the part of the first line that stands where the other lines are indented
        head, body = (*self._text.divide([self._rest - self._first]), Text())[:2]
        lines = body.wrap(console, max(1, options.max_width - self._rest), overflow="fold") or [
            Text()
        ]
        for i, line in enumerate(lines):
            line.rstrip()
            yield Text.assemble(" " * (self._rest if i else self._first), "" if i else head, line)


def shown(text: str) -> str:
    """The text with control characters and undecodable bytes as escapes: ESC is ``\\x1b``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def line(text: str) -> str:
    """One line for a person: no breaks, no control characters, a long one without its middle."""
    one = shown(" ".join(text.split()))
    return one if len(one) <= LONGEST else f"{one[: LONGEST // 2]} [...] {one[-LONGEST // 2 :]}"
