"""The broken defense: one point; `fixed` says which fault."""

from search_spaces._ask import Ask
from trials.spec import MethodConfig


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """The only configuration of ``faulty``."""
    return MethodConfig("faulty")
