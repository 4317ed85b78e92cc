"""The broken defense: one point; `fixed` says which fault."""

from search_spaces._ask import Ask
from trials.spec import Choice


def space(ask: Ask, profile: str, /) -> Choice:
    """The only configuration of ``faulty``."""
    return Choice("faulty")
