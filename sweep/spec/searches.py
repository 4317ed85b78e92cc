"""How a space is gone through: words that the tables of defenses and of recipes share."""

from typing import Protocol

from sweep.spec.validation import one_of
from trials.spec import SpecError

STRATEGIES = ("grid", "one_at_a_time", "search")
SAMPLERS = ("random", "tpe", "nsga2", "gp")


class Searched(Protocol):
    """A table that says how a space is gone through."""

    @property
    def name(self) -> str: ...
    @property
    def strategy(self) -> str: ...
    @property
    def sampler(self) -> str: ...
    @property
    def limit(self) -> int: ...
    @property
    def trials(self) -> int: ...


def check_search(what: str, given: Searched) -> None:
    """Raises SpecError for a way through a space that there is none of."""
    one_of("strategy", given.strategy, list(STRATEGIES))
    one_of("sampler", given.sampler, list(SAMPLERS))
    if given.trials < 1 or given.limit < 0:
        raise SpecError(f"{what} {given.name}: it must have trials at least 1, limit at least 0.")
