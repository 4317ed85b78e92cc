"""Progress in a notebook: one output of its cell, drawn anew in place."""

import html
import io
import sys
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

from rich.console import RenderableType

from sweep.console.progress import REFRESH, ConsoleProgress
from sweep.console.terminal import Plain, line

WIDTH = 110  # columns
LINES = 6  # messages that stay under the table


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive else None
    return hasattr(shell, "kernel")


def progress_of(
    name: str, rule: str, workers: int, progress: bool | None
) -> AbstractContextManager[ConsoleProgress | None]:
    """What shows a sweep's progress from Python.

    Args:
        name: of the sweep.
        rule: by which the best configuration is named.
        workers: trials at a time.
        progress: show it; None: in a notebook and on a terminal.
    """
    if progress is not False and in_notebook():
        return NotebookProgress(name, rule, workers)
    shown = Plain(stderr=True).is_terminal if progress is None else progress
    return ConsoleProgress(name, rule, workers) if shown else nullcontext()


class NotebookProgress(ConsoleProgress):
    """As ``ConsoleProgress`` on a terminal, in an output of the notebook."""

    def __init__(self, name: str, rule: str, workers: int = 1) -> None:
        super().__init__(name, rule, workers, _on_paper())
        self._cell, self._every = Cell(), REFRESH

    def __enter__(self) -> Self:
        self._live = self._cell
        self._clock.start()
        return self

    def _line(self, text: str) -> None:
        self._cell.say(text)


class Cell:
    """An output of a notebook's cell; drawn at most once a ``REFRESH``."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._lines = deque[str](maxlen=LINES)
        self._shown: RenderableType = ""
        self._drawn = 0.0

    def update(self, renderable: RenderableType) -> None:
        self._shown = renderable
        if time.monotonic() - self._drawn >= REFRESH:
            self._draw()

    def say(self, text: str) -> None:
        """Add a line under it."""
        self._lines.append(line(text))

    def stop(self) -> None:
        """Draw what came last."""
        self._draw()

    def _draw(self) -> None:
        from IPython.display import HTML, display  # noqa: PLC0415  (there is one: a kernel runs)

        self._drawn = time.monotonic()
        console = _on_paper()
        console.print(self._shown)
        for text in self._lines:
            console.print(text, markup=False, highlight=False)
        assert isinstance(console.file, io.StringIO)
        shown = HTML(f"<pre>{html.escape(console.file.getvalue())}</pre>")
        if self._handle is None:
            self._handle = display(shown, display_id=True)
        else:
            self._handle.update(shown)


def _on_paper() -> Plain:
    return Plain(file=io.StringIO(), width=WIDTH, force_terminal=False, force_jupyter=False)
