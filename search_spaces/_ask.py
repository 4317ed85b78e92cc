"""How a space asks: a chooser takes listed values, an Optuna trial draws from their range."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, runtime_checkable

from trials.catalog import unknown
from trials.spec import Scalar, SpecError

if TYPE_CHECKING:
    import optuna

T = TypeVar("T")


@runtime_checkable
class Chooser(Protocol):
    """Visits a space value by value; the first value is the default."""

    def choose(self, name: str, choices: Sequence[Scalar], /) -> Scalar: ...


Ask: TypeAlias = "Chooser | optuna.Trial"


def number(
    ask: Ask, name: str, default: float, *others: float, integer: bool = False, log: bool = True
) -> float:
    """A chooser's pick of the values, or an Optuna trial's draw between the least and the greatest
    of them.

    Args:
        ask: a chooser or an ``optuna.Trial``.
        name: name within the space; a branch with other values needs another name.
        default: value of the default configuration.
        *others: further values of a grid.
        integer: draw whole numbers.
        log: draw evenly in the logarithm.
    """
    values = [default, *others]
    if isinstance(ask, Chooser):
        picked = ask.choose(name, values)
        assert isinstance(picked, (int, float))
        return picked
    if integer:
        return ask.suggest_int(name, int(min(values)), int(max(values)), log=log)
    return ask.suggest_float(name, min(values), max(values), log=log)


def option(ask: Ask, name: str, default: str, *others: str) -> str:
    """One of the named options, ``default`` first."""
    values = [default, *others]
    return str(
        ask.choose(name, values)
        if isinstance(ask, Chooser)
        else ask.suggest_categorical(name, values)
    )


def of_profile(levels: Mapping[str, T], profile: str) -> T:
    """What a space holds for ``profile``. Raises SpecError for one that is not known."""
    if profile not in levels:
        raise SpecError(unknown("profile", profile, list(levels)))
    return levels[profile]
