"""Between records and the store's rows."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, get_args

from results.store.validation import check, defaults
from trials.json_forms import to_json, trial_from_json
from trials.spec import MethodConfig, Point, Record, Scalar, SpecError, Status, Trial

STATUSES: tuple[str, ...] = get_args(Status)
Row = dict[str, Any]


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def trial_row(record: Record) -> Row:
    """The row of a trial that has run.

    Raises:
        ValueError: an unknown status, or a failed trial that claims metrics.
    """
    if record.status not in STATUSES:
        raise ValueError(
            f"a record's status is one of {', '.join(STATUSES)}, got {record.status!r}"
        )
    if record.status == "failed" and record.metrics:
        raise ValueError(
            f"failed trial {record.trial.id} has metrics {sorted(record.metrics)}; it measured "
            "nothing"
        )
    trial = record.trial
    return {
        "id": trial.id,
        "victim_id": trial.victim.id,
        "game": trial.game.name,
        "method": trial.method.name if trial.method else None,
        "trusted": trial.trusted,
        "seed": trial.seed,
        "spec": to_json(trial),
        "asked": asked(trial),
        "status": record.status,
        "error": _storable(record.error),
        "seconds": _finite(record.trial.id, "seconds", record.seconds),
        "provenance": dict(record.provenance),
        "finished": now(),
    }


def curve_rows(trial_id: str, points: Iterable[Point]) -> list[Row]:
    """The rows of a curve. Raises ValueError for a value that is not finite: a NaN never becomes a
    number.
    """
    return [_point_row(trial_id, p) for p in points]


def _point_row(trial_id: str, p: Point) -> Row:
    return {
        "trial_id": trial_id,
        "step": int(p.step),
        "cda": _finite(trial_id, "cda", p.cda),
        "asr": _finite(trial_id, "asr", p.asr),
        "seconds": _finite(trial_id, "seconds", p.seconds),
        "extra": {k: _finite(trial_id, k, v) for k, v in p.extra.items()} or None,
    }


def score_rows(record: Record) -> list[Row]:
    """The rows of a record's metrics. Raises ValueError for a value that is not finite."""
    trial_id = record.trial.id
    return [
        {"trial_id": trial_id, "name": k, "value": _finite(trial_id, k, v)}
        for k, v in record.metrics.items()
    ]


def record_of(row: Mapping[str, Any], curve: Iterable[Any], metrics: Mapping[str, float]) -> Record:
    """The record whose rows these are; ``curve`` in the order of its steps: (step, cda, asr,
    seconds, more).

    Raises:
        SpecError: they are no record's.
    """
    try:
        record = Record(
            trial=trial_from_json(row["spec"]),
            status=row["status"],
            metrics=dict(metrics),
            curve=tuple(
                Point(step, cda, asr, seconds, extra or {})
                for step, cda, asr, seconds, extra in curve
            ),
            error=row["error"],
            seconds=row["seconds"],
            provenance=row["provenance"] or {},
        )
        check(record)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise damaged(row["id"], problem) from problem
    return record


def damaged(trial_id: object, problem: Exception) -> SpecError:
    """The error for a trial whose rows are no record's."""
    return SpecError(
        f"the store's record of trial {trial_id!r} is damaged, or not ours "
        f"({type(problem).__name__}: {problem}). "
        "Restore the store from a copy, or delete the record."
    )


def asked(trial: Trial) -> Row:
    """The trial with only the settings that differ from their defaults; all of them where the
    method is not known.
    """
    victim = trial.victim
    return {
        "game": _asked("games", trial.game),
        "dataset": _asked("datasets", victim.dataset),
        "model": _asked("models", victim.model),
        "attacks": [_asked("attacks", a) for a in victim.attacks],
        "training": _asked("recipes", victim.training),
        "method": _asked("defenses", trial.method) if trial.method else None,
        "plant": _asked("games", trial.self_poisoning) if trial.self_poisoning else None,
    }


def _asked(kind: str, config: MethodConfig) -> Row:
    usual = defaults(kind, config.name)
    params = {k: v for k, v in config.params.items() if k not in usual or not _same(usual[k], v)}
    return {"name": config.name, "params": params}


def _same(default: Scalar, value: Scalar) -> bool:
    return default == value and isinstance(default, bool) == isinstance(value, bool)


def _finite(trial_id: str, name: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"trial {trial_id}: {name} is {number}; only finite numbers are stored")
    return number


def _storable(text: str | None) -> str | None:
    """Tracebacks can hold bytes that no database takes as text: lone surrogates, and NUL on
    PostgreSQL.
    """
    return text and text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
