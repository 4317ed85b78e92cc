"""Records as an Optuna database, for optuna-dashboard and Optuna's own plots.

One study an outcome that can be compared: game, victim, trusted fraction, seed and defense. The
objective is the ASR at the lowest point within Δ, the constraint is the CDA lost there minus Δ, and
intermediate values are the ASR curve.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from results.selection.labels import percent, victim_name
from results.selection.rules import curve_of, delta_of, pick
from trials.spec import Record, Scalar, SpecError, canonical
from trials.whole import whole

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

# a setting whose largest value is this many times its smallest is shown on a log scale
_LOG_ABOVE = 100.0


def to_optuna(records: Iterable[Record], path: str | Path) -> int:
    """Write the records to a new Optuna database, an SQLite file; it is there whole or not at all.

    Left out is what a study cannot hold: trials without a defense, and finished ones without a
    curve.

    Returns:
        The number of studies.

    Raises:
        SpecError: ``path`` exists or cannot be written, or no record fits into a study.
    """
    path, studies = Path(path), _studies(records)
    if path.exists():
        raise SpecError(f"{str(path)!r} exists already. Name a new file.")
    if not studies:
        raise SpecError(
            "no record of a defense with a curve: there is nothing that an Optuna study could hold."
        )
    try:
        with whole(path) as part:
            part.touch()  # with the user's umask; SQLite would deny others the right to write
            _write(studies, part)
    except OSError as problem:
        raise SpecError(f"cannot write {str(path)!r}: {problem.strerror or problem}.") from problem
    return len(studies)


def _studies(records: Iterable[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for r in records:
        t = r.trial
        if t.method is not None and (r.curve or r.status != "done"):
            self_poisoning = t.self_poisoning.identity() if t.self_poisoning else None
            key = [t.game.identity(), t.victim.id, t.trusted, t.seed, t.method.name, self_poisoning]
            groups[canonical(key)].append(r)
    named: dict[str, list[Record]] = {}
    for group in groups.values():
        t = group[0].trial
        assert t.method is not None
        name = f"{t.game.name}: {t.method.name} on {victim_name(t.victim)}"
        name += f", r = {percent(t.trusted)} %, seed {t.seed}"
        named[name if name not in named else f"{name} ({len(named)})"] = group
    return named


def _write(studies: dict[str, list[Record]], path: Path) -> None:
    import optuna  # noqa: PLC0415  half a second that only this export needs
    from optuna.storages import RDBStorage  # noqa: PLC0415
    from optuna.study import StudyDirection  # noqa: PLC0415

    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = RDBStorage(f"sqlite:///{path}")
    try:
        storage.engine.dispose()
        event.listen(storage.engine, "connect", _fast)
        for name, records in studies.items():
            study_id = storage.create_new_study([StudyDirection.MINIMIZE], name)
            storage.set_study_user_attr(study_id, "delta", delta_of(records[0]))
            storage.set_study_user_attr(study_id, "victim", records[0].trial.victim.id)
            study = optuna.load_study(study_name=name, storage=storage)
            spaces = _spaces(records)
            study.add_trials(_trial(r, spaces) for r in records)
    finally:
        storage.remove_session()
        storage.engine.dispose()
        optuna.logging.set_verbosity(said)


def _fast(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")  # the file gets its name only when it is whole


def _spaces(records: Sequence[Record]) -> dict[str, "BaseDistribution"]:
    values: dict[str, list[Scalar]] = defaultdict(list)
    for r in records:
        for name, value in (r.trial.method.params if r.trial.method else {}).items():
            values[name].append(value)
    return {name: _space(given) for name, given in values.items()}


def _space(values: list[Scalar]) -> "BaseDistribution":
    from optuna.distributions import (  # noqa: PLC0415
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    kinds = {type(v) for v in values}
    if not kinds <= {int, float}:
        return CategoricalDistribution(sorted(set(values), key=lambda v: (str(type(v)), v)))
    low, high = min(values), max(values)
    log = float(low) > 0 and float(high) / float(low) >= _LOG_ABOVE
    if kinds == {int}:
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _trial(record: Record, spaces: dict[str, "BaseDistribution"]) -> "FrozenTrial":
    from optuna.trial import TrialState, create_trial  # noqa: PLC0415

    state = {"done": TrialState.COMPLETE, "failed": TrialState.FAIL, "pruned": TrialState.PRUNED}[
        record.status
    ]
    params = dict(record.trial.method.params) if record.trial.method else {}
    chosen = pick(record)
    curve = curve_of(record)
    lost = (
        {"cda_loss_above_delta": curve[0].cda - chosen.point.cda - delta_of(record)}
        if chosen
        else {}
    )
    about = {"id": record.trial.id, "seconds": record.seconds, **record.metrics}
    about |= (
        {"step": chosen.point.step, "cda": chosen.point.cda, "rule": chosen.rule} if chosen else {}
    )
    about |= {"error": record.error} if record.error else {}
    trial = create_trial(
        state=state,
        value=chosen.point.asr if chosen else None,
        params={k: v for k, v in params.items() if k in spaces},
        distributions={k: spaces[k] for k in params},
        user_attrs=about,
        intermediate_values={p.step: p.asr for p in curve if math.isfinite(p.asr)},
        constraints=lost or None,
    )
    trial.datetime_start = (trial.datetime_complete or datetime.now()) - timedelta(
        seconds=record.seconds
    )
    return trial
