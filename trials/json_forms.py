"""Specs and records as plain JSON, as stores hold them and workers send them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from trials.curve import Curve
from trials.spec import Filtering, MethodConfig, Point, Record, Trial, Victim

# Fields that stored JSON knows under the name of an earlier version, so that every version reads
# every store.
_STORED_AS = {"self_poisoning": "plant", "extra": "more"}
# earlier versions have no such fields
_STORED_IF_GIVEN: Mapping[type, tuple[str, ...]] = {
    Victim: ("filter", "overlap"),
    Filtering: ("self_poisoning", "threshold"),
}


def to_json(value: Any) -> Any:
    """A configuration, victim, trial, point or record as plain JSON; ``from_json`` undoes it."""
    if isinstance(value, (MethodConfig, Filtering, Victim, Trial, Point, Record)):
        names = [f.name for f in fields(value) if f.init]
        later = _STORED_IF_GIVEN.get(type(value), ())
        names = [n for n in names if n not in later or getattr(value, n)]
        return {_STORED_AS.get(name, name): to_json(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {k: to_json(v) for k, v in value.items()}
    if isinstance(value, (tuple, list, Curve)):
        return [to_json(v) for v in value]
    return value


def method_config_from_json(data: Mapping[str, Any]) -> MethodConfig:
    return MethodConfig(data["name"], dict(data["params"]), dict(data.get("files", {})))


def _if_given(data: Mapping[str, Any] | None) -> MethodConfig | None:
    return method_config_from_json(data) if data else None


def _filtering(data: Mapping[str, Any] | None) -> Filtering | None:
    if not data:
        return None
    return Filtering(
        method=method_config_from_json(data["method"]),
        reject=data["reject"],
        trusted=data["trusted"],
        seed=data["seed"],
        self_poisoning=_if_given(data.get("plant")),
        threshold=dict(data.get("threshold", {})),
    )


def victim_from_json(data: Mapping[str, Any]) -> Victim:
    return Victim(
        dataset=method_config_from_json(data["dataset"]),
        model=method_config_from_json(data["model"]),
        attacks=tuple(method_config_from_json(a) for a in data["attacks"]),
        training=method_config_from_json(data["training"]),
        seed=data["seed"],
        reserve=data["reserve"],
        filter=_filtering(data.get("filter")),
        overlap=bool(data.get("overlap", False)),
    )


def trial_from_json(data: Mapping[str, Any]) -> Trial:
    return Trial(
        game=method_config_from_json(data["game"]),
        victim=victim_from_json(data["victim"]),
        method=_if_given(data["method"]),
        trusted=data["trusted"],
        seed=data["seed"],
        self_poisoning=_if_given(data["plant"]),
        detector=_if_given(data.get("detector")),
    )


def point_from_json(data: Mapping[str, Any]) -> Point:
    return Point(data["step"], data["cda"], data["asr"], data["seconds"], dict(data["more"]))


def record_from_json(data: Mapping[str, Any]) -> Record:
    """The record that ``to_json`` wrote."""
    return Record(
        trial=trial_from_json(data["trial"]),
        status=data["status"],
        metrics=dict(data["metrics"]),
        curve=tuple(map(point_from_json, data["curve"])),
        error=data["error"],
        seconds=data["seconds"],
        provenance=dict(data["provenance"]),
    )
