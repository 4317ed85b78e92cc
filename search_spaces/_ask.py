"""How a space asks: a chooser takes listed values, an Optuna trial draws from their range."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

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


class _HeldChooser:
    """A chooser that is not asked for what is held."""

    def __init__(self, ask: Chooser, held: Mapping[str, Scalar]) -> None:
        self._ask, self._held = ask, held

    def choose(self, name: str, choices: Sequence[Scalar], /) -> Scalar:
        value = _of(self._held, name)
        return self._ask.choose(name, choices) if value is None else value


class _HeldTrial:
    """A trial that does not draw what is held."""

    def __init__(self, ask: "optuna.Trial", held: Mapping[str, Scalar]) -> None:
        self._ask, self._held = ask, held

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        if (value := _of(self._held, name)) is not None:
            return value
        drawn: Scalar = self._ask.suggest_categorical(name, list(choices))  # type: ignore[assignment]
        return drawn

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> Scalar:
        value = _of(self._held, name)
        return self._ask.suggest_float(name, low, high, log=log) if value is None else value

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> Scalar:
        value = _of(self._held, name)
        return self._ask.suggest_int(name, low, high, log=log) if value is None else value


def held(ask: Ask, values: Mapping[str, Scalar]) -> Ask:
    """An ask that answers by itself what is held, so that a space goes into that branch alone. A
    name of a branch (``lr_adam``) is that of the setting that it begins with.
    """
    if isinstance(ask, Chooser):
        return _HeldChooser(ask, values)
    return cast("optuna.Trial", _HeldTrial(ask, values))


def _of(held: Mapping[str, Scalar], name: str) -> Scalar | None:
    return next((v for k, v in held.items() if name == k or name.startswith(f"{k}_")), None)


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
