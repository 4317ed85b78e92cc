"""Points of a space that are known before a sampler draws: its first, and those of configurations
that ran.
"""

from collections.abc import Sequence

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from trials.spec import MethodConfig, Scalar


class First:
    """An ``ask`` that takes the first value of everything: the paper's optimum."""

    def choose(self, name: str, choices: Sequence[object]) -> object:
        return choices[0]


class Recalled:
    """An ``ask`` that answers with the settings of a known configuration, and keeps the
    parameters as a study knows them.

    A name of a branch (``lr_adam``) answers with the setting that it begins with (``lr``). What the
    space asks for but the configuration does not hold, because a setting is fixed, is answered with
    the first value; the caller compares.
    """

    def __init__(self, config: MethodConfig) -> None:
        self._settings = config.params
        self.params: dict[str, Scalar] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        return self._answer(name, CategoricalDistribution(choices), choices[0])

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Scalar:
        return self._answer(name, FloatDistribution(low, high, log=log, step=step), low)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> Scalar:
        return self._answer(name, IntDistribution(low, high, log=log, step=step), low)

    def _answer(self, name: str, distribution: BaseDistribution, other: Scalar) -> Scalar:
        keys = [k for k in self._settings if name == k or name.startswith(f"{k}_")]
        value = self._settings[max(keys, key=len)] if keys else other
        try:
            fits = distribution._contains(distribution.to_internal_repr(value))
        except (TypeError, ValueError):
            fits = False
        self.params[name] = value if fits else other
        return self.params[name]
