"""A sweep that runs in seconds: digits, two convolutions, BadNets, short defenses."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from results.store import Store
from sweep.execution.worker import WorkerConfig
from sweep.planning import expansion
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.spec import MethodConfig, Record, Trial

VICTIM: dict[str, Any] = {
    "dataset": "digits",
    "model": {"name": "small_cnn", "width": 8},
    "training": {"name": "fast", "epochs": 4, "batch": 64, "peak": 0.2},
    "attacks": [{"name": "badnets", "m": 60}],
}
SELF_POISONING: dict[str, Any] = {
    "scheme": "labels",
    "steps": 60,
    "batch": 32,
    "lr": 0.1,
    "share": 0.5,
    "reach": 0.3,
    "check_every": 20,
}
DEFENSES: list[dict[str, Any]] = [
    {"name": "weight_decay", "profile": "small", "limit": 2, "fixed": {"steps": 6, "batch": 16}},
    {"name": "fine_tuning", "profile": "small", "limit": 2, "fixed": {"steps": 6, "batch": 16}},
]


def table(**changes: Any) -> dict[str, Any]:
    """The sweep as its TOML would give it."""
    return {
        "trusted": 0.2,
        "victim": VICTIM,
        "tuning": {"copies": 1, "record_every": 2},
        "self_poisoning": SELF_POISONING,
        "defenses": DEFENSES,
        "compute": {"device": "cpu", "workers": 2},
        **changes,
    }


def sweep(**changes: Any) -> Sweep:
    return sweep_file.parse(table(**changes), "tiny")


def first(of: Sweep, game: str) -> Trial:
    """The first trial of a game in a sweep."""
    if game == "training":
        return expansion.victims(of)[0]
    if game == "self_poison":
        return expansion.copies(of)[0]
    config = expansion.configurations(of, of.defenses[0])[0]
    return expansion.trials_of(of, expansion.tasks(of)[0], config)[0]


def copy_trial(of: Sweep, **settings: Any) -> Trial:
    """The trial that makes the first copy, with settings in place of those here."""
    given = {**SELF_POISONING, **settings}
    if "scheme" in settings and "lr" not in settings:
        given.pop("lr")
    game = MethodConfig("self_poison", {"copy": 0, **given})
    return catalog.resolve_trial(replace(first(of, "self_poison"), game=game))


def redrawn_copy(of: Sweep, **settings: Any) -> Trial:
    """The trial that makes a copy whose first trigger reaches an ASR of 0.3, the second 0.9, the
    third 0.4.
    """
    steps = {"steps": 20, "rounds": 1, "check_every": 10, "reach": 0.6}
    return copy_trial(
        of, **{"scheme": "distilled", "attack": "patch", "copy": 2} | steps | settings
    )


def first_self_poisoning(trial: Trial) -> MethodConfig:
    """How the first copy of a tuning trial is made."""
    assert trial.self_poisoning is not None
    return MethodConfig(trial.self_poisoning.name, {**trial.self_poisoning.params, "copy": 0})


def outcome(record: Record) -> tuple[Any, ...]:
    """All of a record that has to be the same in every run."""
    curve = [(p.step, p.cda, p.asr, dict(p.extra)) for p in record.curve]
    return record.trial.id, record.status, dict(record.metrics), curve


def outcomes(store: Store) -> dict[str, tuple[Any, ...]]:
    return {r.trial.id: outcome(r) for r in store.records()}


def worker_config(folder: Path) -> WorkerConfig:
    return WorkerConfig(str(folder), "cpu", 1)


def toml(data: Mapping[str, Any]) -> str:
    """Enough of TOML for the tables here."""
    return "\n".join(f"{k} = {_value(v)}" for k, v in data.items()) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)
