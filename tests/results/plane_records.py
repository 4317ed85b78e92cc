"""Made-up victims, repairs and detector scores with known distributions: what statistics should
find is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from results.selection.grouping import Channel
from trials.spec import MethodConfig, Point, Record, Trial, Victim

SEEDS = 24
BUDGETS = (50, 150, 500)
CHANNELS: dict[str, Channel] = {"pcb": "code"}
# factor on what an attack keeps
DEFENSES = {"none": 1.0, "weight_decay": 1.5, "pivotal_tuning": 0.6}
# factor on how far scores lie apart
DETECTORS = {"calibrated_inversion": 1.0, "neural_cleanse": 0.6}


@dataclass(frozen=True)
class Attack:
    """Means at the largest budget: ASR, share of it kept after a repair, distance of scores in
    standard deviations.
    """

    asr: float
    kept: float
    apart: float


ATTACKS = {
    "badnets": Attack(0.999, 0.05, 1.6),
    "a_blend": Attack(0.94, 0.12, 0.6),
    "a_patch": Attack(0.98, 0.10, 1.1),
    "adv": Attack(0.97, 0.45, 0.9),
    "wanet": Attack(0.35, 0.08, 0.3),
    "pcb": Attack(0.95, 0.75, 0.5),
}


def victim(attack: str = "", m: int = 500, seed: int = 0, **params: object) -> Victim:
    attacks = (MethodConfig(attack, {"m": m, "target": seed % 10, **params}),) if attack else ()  # type: ignore[dict-item]
    return Victim(
        dataset=MethodConfig("cifar10"),
        model=MethodConfig("resnet18", {"width": 64}),
        attacks=attacks,
        training=MethodConfig("fast", {"epochs": 15}),
        seed=seed,
    )


def area(distance: float) -> float:
    """AUC of two normals of standard deviation 1 that lie this far apart."""
    return NormalDist().cdf(distance / 2**0.5)


def apart(
    attack: str,
    m: int,
    detector: str = "calibrated_inversion",
    attacks: Mapping[str, Attack] = ATTACKS,
) -> float:
    """How far the scores of an attack lie from those of clean models."""
    share = 0.5 + 0.5 * BUDGETS.index(m) / (len(BUDGETS) - 1)
    return attacks[attack].apart * share * DETECTORS[detector]


def asr(attack: str, m: int, attacks: Mapping[str, Attack] = ATTACKS) -> float:
    """Before any defense, in the mean."""
    return attacks[attack].asr * (0.55, 0.85, 1.0)[BUDGETS.index(m)]


def kept(attack: str, defense: str, attacks: Mapping[str, Attack] = ATTACKS) -> float:
    """η as a share of the ASR before, in the mean."""
    return min(1.0, attacks[attack].kept * DEFENSES[defense]) if defense != "none" else 1.0


def detected(
    of: Victim, score: float, detector: str = "calibrated_inversion", seed: int = 0, **extra: float
) -> Record:
    """One model's score; its repair is that of ``pivotal_tuning`` where the detector needs one."""
    repair = (
        MethodConfig("pivotal_tuning", {"lr": 0.01}) if detector == "calibrated_inversion" else None
    )
    trial = Trial(
        game=MethodConfig("detectability", {"stop_at": 0}),
        victim=of,
        method=repair,
        trusted=0.01,
        seed=seed,
        detector=MethodConfig(detector, {"steps": 100}),
    )
    return Record(trial=trial, status="done", metrics={"score": score, **extra})


def repaired(
    of: Victim,
    curve: Iterable[tuple[int, float, float]],
    defense: str = "weight_decay",
    stop_at: int = 500,
    seed: int = 0,
    trusted: float = 0.01,
    **params: float,
) -> Record:
    """A defense on an attacked victim; the curve is (step, cda, asr)."""
    trial = Trial(
        game=MethodConfig("robustness", {"delta": 0.02, "stop_at": stop_at}),
        victim=of,
        method=MethodConfig(defense, {"lr": 0.01, **params}),
        trusted=trusted,
        seed=seed,
    )
    points = tuple(Point(s, c, a, extra={"val_cda": c}) for s, c, a in curve)
    start = {
        "cda0": points[0].cda,
        "asr0": points[0].asr,
        "n_clean": 10000.0,
        "n_triggered": 9000.0,
    }
    return Record(trial=trial, status="done", metrics=start, curve=points)


def trained(of: Victim, cda: float, rate: float | None = None) -> Record:
    trial = Trial(game=MethodConfig("training"), victim=of, method=None, trusted=0.0, seed=0)
    asr = {} if rate is None else {"asr": rate, "n_triggered": 9000.0}
    return Record(trial=trial, status="done", metrics={"cda": cda, "n_clean": 10000.0, **asr})


def sweep(
    seeds: int = SEEDS,
    attacks: Mapping[str, Attack] = ATTACKS,
    defenses: Iterable[str] = tuple(DEFENSES),
    detectors: Iterable[str] = tuple(DETECTORS),
    seed: int = 1,
    whole: bool = False,
) -> list[Record]:
    """Victims, repairs and scores of all attacks at all budgets, and a pool of clean victims.

    Args:
        seeds: victims of each attack, model and budget.
        attacks, defenses, detectors: which.
        seed: of the made-up noise.
        whole: also runs of the defenses to their end, with every step.
    """
    rng, found = np.random.default_rng(seed), []
    for s in range(seeds):
        found += _scores(victim(seed=s), rng, detectors, dict.fromkeys(detectors, 0.0))
        found.append(trained(victim(seed=s), 0.945 + 0.002 * rng.standard_normal()))
    for attack in attacks:
        for m in BUDGETS:
            for s in range(seeds):
                of = victim(attack, m, s)
                rate = _noisy(asr(attack, m, attacks), rng, 0.3)
                found.append(trained(of, 0.944 + 0.002 * rng.standard_normal(), rate))
                found += _scores(
                    of, rng, detectors, {d: apart(attack, m, d, attacks) for d in detectors}
                )
                for d in defenses:
                    found += _runs(of, d, rate, kept(attack, d, attacks), rng, whole)
    return found


def _scores(
    of: Victim, rng: np.random.Generator, detectors: Iterable[str], far: Mapping[str, float]
) -> list[Record]:
    """Scores of one model by all detectors correlate: an odd model is odd to all of them."""
    shared, found = rng.standard_normal(), []
    for d in detectors:
        score = far[d] + 0.6 * shared + 0.8 * rng.standard_normal()
        extra: dict[str, Any] = {
            "target_rank": float(1 + rng.integers(0, 3)),
            "cosine": 0.4 + 0.1 * rng.standard_normal(),
            "iou": 0.2,
        }
        found.append(detected(of, score, d, **(extra if of.attacks else {})))
    return found


def _runs(
    of: Victim, defense: str, rate: float, kept: float, rng: np.random.Generator, whole: bool
) -> list[Record]:
    if defense == "none":
        return [repaired(of, [(0, 0.944, rate)], defense, stop_at=0)]
    floor = _noisy(rate * kept, rng, 0.4)
    runs = [repaired(of, [(0, 0.944, rate), (500, 0.931, floor)], defense)]
    if whole:
        steps = range(0, 1050, 50)
        curve = [
            (t, 0.944 - 0.026 * (t / 1000) ** 0.5, floor + (rate - floor) * 0.7 ** (t / 50))
            for t in steps
        ]
        runs.append(repaired(of, curve, defense, stop_at=0))
    return runs


def _noisy(rate: float, rng: np.random.Generator, sd: float) -> float:
    """The rate with normal noise on its logit."""
    rate = min(max(rate, 1e-4), 1 - 1e-4)
    return float(1 / (1 + (1 / rate - 1) * np.exp(-sd * rng.standard_normal())))


def without(record: Record, *metrics: str) -> Record:
    return replace(record, metrics={k: v for k, v in record.metrics.items() if k not in metrics})
