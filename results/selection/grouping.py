"""Victims that are alike but for their seed and target: the repetitions of one attack on one
dataset and model.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from results.selection.labels import attack, value
from trials.catalog import describe
from trials.spec import SpecError, Victim, content_id

KEY = ("key", "instance")  # settings of an attack that say what is attacked

Channel = Literal["data", "code", "unknown"]
_REPEATED = ("seed", "target")  # what differs between repetitions
_benchmarks: dict[str, str] = {}  # by a victim's id, as tables ask for the same ones repeatedly


class AttackConfig(NamedTuple):
    """Ids; the clean victims of a benchmark have the attack ``clean``."""

    benchmark: str  # dataset, model, training, share held back
    attack: str  # attacks with their settings


def attack_config_of(victim: Victim) -> AttackConfig:
    return AttackConfig(
        benchmark_of(victim), content_id(_attacks(victim)) if victim.attacks else "clean"
    )


def benchmark_of(victim: Victim) -> str:
    """Everything of a victim but its attacks and its seed."""
    if victim.id not in _benchmarks:
        kept = ("dataset", "model", "training", "reserve", "filter", "overlap")
        _benchmarks[victim.id] = content_id(
            {k: v for k, v in victim.identity().items() if k in kept}
        )
    return _benchmarks[victim.id]


def family_of(victim: Victim) -> AttackConfig:
    """As ``attack_config_of``, whatever the budget m: the attacks along which m grows."""
    return AttackConfig(
        benchmark_of(victim), content_id(_attacks(victim, "m")) if victim.attacks else "clean"
    )


def budget(victim: Victim) -> int | None:
    """m, the images poisoned by all its attacks; None where no attack has one."""
    given = [int(a.params["m"]) for a in victim.attacks if "m" in a.params]
    return sum(given) if given else None


def channel(victim: Victim, known: Mapping[str, Channel] | None = None) -> Channel:
    """``code`` where an attack controls the training itself, else ``data``; ``unknown`` for a name
    nobody knows.

    Args:
        victim: an attacked one.
        known: by attack's name, before the catalog is asked.
    """
    found = {(known or {}).get(a.name) or _channel(a.name) for a in victim.attacks}
    return "unknown" if "unknown" in found else "code" if "code" in found else "data"


def names(victims: Iterable[Victim]) -> dict[AttackConfig, str]:
    """'badnets (m = 50)' for each attack, with those other settings that tell attacks of the same
    name apart.
    """
    return _told_apart(victims, attack, attack_config_of)


def families(victims: Iterable[Victim]) -> dict[AttackConfig, str]:
    """'badnets' for each family, with those settings besides m that tell families of the same
    attacks apart.
    """
    return _told_apart(victims, attack_name, family_of, "m")


def attack_name(victim: Victim) -> str:
    """'badnets', 'badnets + wanet', or 'clean'."""
    return " + ".join(a.name for a in victim.attacks) or "clean"


def _told_apart(
    victims: Iterable[Victim],
    name_of: Callable[[Victim], str],
    key_of: Callable[[Victim], AttackConfig],
    *but: str,
) -> dict[AttackConfig, str]:
    alike: dict[str, dict[AttackConfig, Victim]] = defaultdict(dict)
    for v in {id(v): v for v in victims}.values():  # many trials share one
        alike[name_of(v)].setdefault(key_of(v), v)
    found: dict[AttackConfig, str] = {}
    for name, group in alike.items():
        benchmarks = {s.benchmark for s in group}
        # one attack in several benchmarks is told apart by the benchmark
        several = len(group) > len(benchmarks)
        found |= {
            s: f"{name}, {_more(v, list(group.values()), *but)}" if several else name
            for s, v in group.items()
        }
    return found


def _attacks(victim: Victim, *but: str) -> list[object]:
    left = {*_REPEATED, *but}
    found: list[object] = []
    for one in victim.attacks:
        identity = one.identity()
        params = {k: v for k, v in identity["params"].items() if k not in left}
        found.append({**identity, "params": params})
    return found


def _more(victim: Victim, group: list[Victim], *but: str) -> str:
    """Settings of this victim's attacks that vary within the group."""
    said = []
    for i, a in enumerate(victim.attacks):
        for k, v in a.params.items():
            if k not in {*_REPEATED, *but} and any(o.attacks[i].params.get(k) != v for o in group):
                said.append(f"{k} = {value(v)}")
    return ", ".join(said) or attack_config_of(victim).attack[:6]


def _channel(name: str) -> Channel:
    try:
        return "code" if describe("attacks", name).verb == "implant" else "data"
    except SpecError:
        return "unknown"


def attack_of(victim: Victim) -> str:
    """The attacks' settings but for what is attacked."""
    shared = []
    for each in victim.attacks:
        said = each.identity()
        said["params"] = {k: v for k, v in said["params"].items() if k not in KEY}
        shared.append(said)
    return content_id(shared)
