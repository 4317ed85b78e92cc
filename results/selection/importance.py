"""Which settings of a defense decided its η: PED-ANOVA over the configurations tried.

Source: Watanabe, Bansal, Hutter 2023, arXiv:2304.10255, as implemented by Optuna. It compares where
the best tenth of the configurations lies with where all of them lie, one setting at a time.
Deviation: below ``ENOUGH`` configurations, or where all reach the same η, there is no answer, and
the reason is said.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from results.selection.configurations import Configuration, configurations, of_game
from results.selection.remembered import once
from results.selection.rules import DEFAULT_RULE
from trials.spec import Record, Scalar

ENOUGH = 10  # fewer configurations put less than one in the best tenth


@dataclass(frozen=True, slots=True)
class Importance:
    """Shares that sum to 1 over the settings that varied, largest first; None with the reason where
    there are none.
    """

    defense: str
    shares: Mapping[str, float] | None
    reason: str
    n: int  # configurations behind it


def importance(
    records: Iterable[Record], rule: str = DEFAULT_RULE, enough: int = ENOUGH
) -> dict[str, Importance]:
    """The importance of every setting for η, by defense, over all configurations that finished.

    Several tasks count together; call it with one task's records to keep them apart.

    Raises:
        SpecError: unknown rule.
        ValueError: a measurement is not finite.
    """
    return once(_importance, of_game(records, "tuning"), rule, enough)


def _importance(records: Sequence[Record], rule: str, enough: int) -> dict[str, Importance]:
    groups: dict[str, list[Configuration]] = defaultdict(list)
    for c in configurations(records, rule):
        if c.point is not None:
            groups[c.method.name].append(c)
    return {name: _of(name, group, enough) for name, group in sorted(groups.items())}


def varied(group: Sequence[Configuration]) -> list[str]:
    """Settings that take more than one value in the group, sorted."""
    names = sorted(set.intersection(*(set(c.method.params) for c in group))) if group else []
    return [name for name in names if len(_values(group, name)) > 1]


def _values(group: Sequence[Configuration], name: str) -> set[tuple[type, Scalar]]:
    """A setting's values with their types, as 1, 1.0 and True are equal in Python."""
    values = [c.method.params[name] for c in group]
    return {(type(v), v) for v in values}


def _of(name: str, group: list[Configuration], enough: int) -> Importance:
    n, turned = len(group), varied(group)
    if not turned:
        return Importance(name, None, "no setting was varied", n)
    if n < enough:
        return Importance(name, None, f"{n} configurations finished, {enough} are needed", n)
    values = [_eta(c) for c in group]
    if max(values) == min(values):
        return Importance(name, None, f"all {n} configurations left the same ASR", n)
    shares = _ped_anova(group, turned, values)
    if not sum(shares.values()) > 0:
        return Importance(name, None, "the best configurations lie everywhere alike", n)
    return Importance(
        name, dict(sorted(shares.items(), key=lambda item: (-item[1], item[0]))), "", n
    )


def _eta(c: Configuration) -> float:
    assert c.point is not None
    return c.point.asr


def _ped_anova(
    group: Sequence[Configuration], turned: Sequence[str], values: Sequence[float]
) -> dict[str, float]:
    import optuna  # noqa: PLC0415  (half a second that a table need not pay)
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # noqa: PLC0415

    class Tried(optuna.Study):
        """A study of trials that no storage copies: half a millisecond each."""

        def get_trials(self, *_: object, **__: object) -> list[optuna.trial.FrozenTrial]:
            return trials

    columns = {}
    for name in turned:
        columns[name] = [c.method.params[name] for c in group]
    spaces = {t: _distribution(column) for t, column in columns.items()}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        trials = []
        for i, value in enumerate(values):
            params = {t: column[i] for t, column in columns.items()}
            trials.append(
                optuna.trial.FrozenTrial(
                    number=i,
                    trial_id=i,
                    state=optuna.trial.TrialState.COMPLETE,
                    value=value,
                    datetime_start=None,
                    datetime_complete=None,
                    params=params,
                    distributions=spaces,
                    user_attrs={},
                    system_attrs={},
                    intermediate_values={},
                )
            )
        storage = optuna.storages.InMemoryStorage()
        study = Tried(optuna.create_study(storage=storage).study_name, storage)
        return get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(), params=list(turned)
        )
    finally:
        optuna.logging.set_verbosity(verbosity)


def _distribution(column: Sequence[Scalar]) -> "optuna.distributions.BaseDistribution":  # type: ignore[name-defined]  # noqa: F821
    """The range that was tried; logarithmic where it spans a decade and more."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: PLC0415

    numbers = [v for v in column if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) < len(column):
        return CategoricalDistribution(sorted(set(column), key=str))
    low, high = min(numbers), max(numbers)
    log = low > 0 and high >= 10 * low
    if all(isinstance(v, int) for v in numbers):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)
