"""What goes to a terminal: names that strangers chose are shown, and never obeyed as control sequences."""

from typing import Any

from rich.console import Console
from rich.text import Text

LONGEST = 2000  # characters of one message


class Plain(Console):
    """A console that escapes control characters in whatever text it is given."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str("\n".join(map(shown, text.split("\n"))), **how)


def shown(text: str) -> str:
    """The text with control characters and undecodable bytes as escapes: ESC is ``\\x1b``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def line(text: str) -> str:
    """One line for a person: no breaks, no control characters, the middle of a long one left out."""
    one = shown(" ".join(text.split()))
    return one if len(one) <= LONGEST else f"{one[: LONGEST // 2]} [...] {one[-LONGEST // 2 :]}"
