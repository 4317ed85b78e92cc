"""How a space is gone through: words that the tables of defenses, recipes and filters share."""

from collections.abc import Collection, Sequence
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


_OF_A_SEARCH = ("trials", "sampler")


def check_words(what: str, given: Searched, data: Collection[str]) -> None:
    """Raises SpecError for words of a table that its strategy does not read."""
    unread = ("limit",) if given.strategy == "search" else _OF_A_SEARCH
    if wrong := [word for word in unread if word in data]:
        other = 'strategy = "grid"' if given.strategy == "search" else 'strategy = "search"'
        raise SpecError(
            f'{what} {given.name}: {wrong[0]} changes nothing with strategy = "{given.strategy}": '
            f"leave it out, or write {other}."
        )


def check_search(what: str, given: Searched) -> None:
    """Raises SpecError for a way through a space that there is none of."""
    one_of("strategy", given.strategy, list(STRATEGIES))
    one_of("sampler", given.sampler, list(SAMPLERS))
    if given.trials < 1 or given.limit < 0:
        raise SpecError(f"{what} {given.name}: it must have trials at least 1, limit at least 0.")


def check_once(what: str, searched: Sequence[str]) -> None:
    """Raises SpecError where one of these names is searched by two tables."""
    if twice := sorted({name for name in searched if searched.count(name) > 1}):
        raise SpecError(f"{what} {twice[0]} is searched twice: leave one of its tables out.")
