"""Made-up records with the shape of a real sweep: enough for tests and for looking at the page."""

import dataclasses
import math
import random
from collections.abc import Iterable, Mapping
from typing import Any

from trials.spec import MethodConfig, Point, Record, Scalar, Status, Trial, Victim

DELTA = 0.02
CLEAN = {"n_clean": 100.0, "n_triggered": 90.0, "copies": 3.0, "folds": 4.0}


def victim(
    attack: str = "badnets", seed: int = 0, dataset: str = "cifar10", **params: Scalar
) -> Victim:
    attacks = (MethodConfig(attack, {"m": 500, **params}),) if attack else ()
    return Victim(
        dataset=MethodConfig(dataset),
        model=MethodConfig("resnet18", {"width": 64}),
        attacks=attacks,
        training=MethodConfig("sgd", {"epochs": 120}),
        seed=seed,
    )


def trial(
    game: str = "tuning",
    defense: str = "weight_decay",
    params: Mapping[str, Scalar] | None = None,
    *,
    seed: int = 0,
    of: Victim | None = None,
    trusted: float = 0.01,
    game_params: Mapping[str, Scalar] | None = None,
) -> Trial:
    settings = {"delta": DELTA} if game in ("tuning", "robustness") else {}
    method = MethodConfig(defense, dict(params or {})) if defense else None
    return Trial(
        game=MethodConfig(game, {**settings, **(game_params or {})}),
        victim=of or victim(),
        method=method,
        trusted=trusted,
        seed=seed,
        self_poisoning=MethodConfig("self_poison") if game in ("tuning", "confirmation") else None,
    )


def tuned(curve: Iterable[tuple[int, float, float]], *args: object, **kwargs: object) -> Record:
    """A finished tuning record with this curve of (step, cda, asr); the rest goes to ``trial``."""
    points = tuple(Point(s, c, a) for s, c, a in curve)
    metrics = {**CLEAN, "cda0": points[0].cda, "asr0": points[0].asr, "stopped": 0.0}
    return Record(trial=trial(*args, **kwargs), status="done", metrics=metrics, curve=points)  # type: ignore[arg-type]


def of_kinds(record: Record, **left: float) -> Record:
    """The record as if its copies carried these kinds of trigger, with this ASR after step 0.

    Of the given kinds all of the ASR is there at step 0; the mean over kinds is the point's.
    """
    points = []
    for p in record.curve:
        asrs = left if p.step else dict.fromkeys(left, p.asr)
        extra = {**p.extra, **{f"asr/{kind}": asr for kind, asr in asrs.items()}}
        points.append(dataclasses.replace(p, asr=sum(asrs.values()) / len(asrs), extra=extra))
    planted = MethodConfig("self_poison", {"attack": "mixed", "scheme": "labels"})
    return dataclasses.replace(
        record,
        trial=dataclasses.replace(record.trial, self_poisoning=planted),
        curve=tuple(points),
    )


def _curve(
    rng: random.Random,
    rate: float,
    floor: float,
    cost: float,
    copies: int,
    seen: bool,
    stop: bool = True,
) -> tuple[Point, ...]:
    offsets = [rng.gauss(0, 0.03) for _ in range(copies)]
    points = []
    for step in range(0, 1050 if rate else 50, 50):
        asr = floor + (0.98 - floor) * math.exp(-rate * step / 100)
        cda = 0.94 - cost * math.sqrt(step / 1000)
        asrs = [min(1.0, max(0.0, asr + (o + rng.gauss(0, 0.01)) * (step > 0))) for o in offsets]
        cdas = [min(1.0, cda + rng.gauss(0, 0.003) * (step > 0)) for _ in offsets]
        extra = {f"asr_{i}": a for i, a in enumerate(asrs)} | {
            f"cda_{i}": c for i, c in enumerate(cdas)
        }
        if seen:
            extra = {"val_cda": cdas[0]}
        points.append(Point(step, sum(cdas) / copies, sum(asrs) / copies, step / 20, extra))
        if points[-1].cda < points[0].cda - DELTA and stop:
            break
    return tuple(points)


SPACES = {
    "pivotal_tuning": lambda r: {
        "lr": 10 ** r.uniform(-3, -1.5),
        "lambda_s": 10 ** r.uniform(-3, -1),
        "kappa": 10 ** r.uniform(-2.5, 0),
        "optimizer": "sgd",
        "steps": 2000,
    },
    "weight_decay": lambda r: {
        "lr": 10 ** r.uniform(-3, -1),
        "lambda_w": 10 ** r.uniform(-4, -2),
        "steps": 1000,
    },
    "fine_pruning": lambda r: {
        "rho": r.choice([0.5, 0.7, 0.9, 0.96, 0.99]),
        "lr": 10 ** r.uniform(-3, -2),
    },
    "nad": lambda r: {
        "power": r.choice([2, 3, 4]),
        "lambda_at": r.choice([100.0, 1000.0, 10000.0]),
        "lr": 0.01,
    },
    "fine_tuning": lambda r: {"lr": 10 ** r.uniform(-3, -1), "steps": 1000},
    "bn_refresh": lambda r: {"steps": 1000},
    "none": lambda r: {},
}
STRENGTH = {
    "pivotal_tuning": (1.2, 0.015),
    "weight_decay": (0.5, 0.08),
    "fine_pruning": (0.25, 0.35),
    "nad": (0.2, 0.5),
    "fine_tuning": (0.3, 0.3),
    "bn_refresh": (0.02, 0.9),
    "none": (0.0, 0.98),
}


def sweep(
    attacks: Iterable[str] = ("badnets",),
    shares: Iterable[float] = (0.01,),
    n: int = 16,
    weak: float = 0.0,
) -> list[Record]:
    """A whole sweep: victims, copies, tuning, confirmation, robustness, and some that failed or
    were pruned.
    """
    rng, found = random.Random(7), []
    for attack in attacks:
        of = victim(attack)
        real = {"cda": 0.941, "asr": 0.996, "n_clean": 10000.0, "n_triggered": 9000.0}
        found.append(
            Record(trial=trial("training", "", of=of, trusted=0.0), status="done", metrics=real)
        )
        for r in shares:
            for copy in range(3):
                facts = {
                    "asr": 0.97,
                    "asr_before": 0.01,
                    "cda": 0.937,
                    "cda_before": 0.94,
                    "steps": 80.0 + 10 * copy,
                    "cosine": 2.1e-4,
                }
                one = trial("self_poison", "", of=of, trusted=r, game_params={"copy": copy})
                found.append(
                    Record(
                        trial=one,
                        status="done",
                        metrics=facts,
                        provenance={"torch": "2.9", "ray": "2.60"},
                    )
                )
            for defense, draw in SPACES.items():
                found += _defense(rng, of, r, defense, draw, n if len(draw(rng)) > 1 else 1, weak)  # type: ignore[no-untyped-call]
    return found


def _defense(
    rng: random.Random, of: Victim, r: float, defense: str, draw: Any, n: int, weak: float
) -> list[Record]:
    rate, floor = STRENGTH[defense]
    found = []
    for i in range(n):
        params = draw(rng)
        pull = params.get("lr", 0.01) / 0.01
        curve_args = (
            rate * pull**0.5,
            min(0.98, floor + weak + rng.random() * 0.05),
            0.018 * pull**0.7,
            3,
        )
        for seed in (0, 1):
            one = trial("tuning", defense, params, of=of, trusted=r, seed=seed)
            if i == n - 1 and n > 1 and seed:
                error = (
                    "Traceback (most recent call last):\n  ...\nArithmeticError: the model diverged"
                )
                found.append(Record(trial=one, status="failed", error=error))
                continue
            curve = _curve(rng, *curve_args, seen=False)
            metrics = {**CLEAN, "cda0": curve[0].cda, "asr0": curve[0].asr, "stopped": 0.0}
            status: Status = "pruned" if i == n - 2 and n > 1 and seed else "done"
            found.append(
                Record(
                    trial=one,
                    status=status,
                    metrics=metrics if status == "done" else {},
                    curve=curve if status == "done" else curve[:3],
                    seconds=40.0,
                    provenance={"torch": "2.9", "ray": "2.60", "device": "cpu"},
                )
            )
    return found


def judged(records: list[Record], oracle: bool = True) -> list[Record]:
    """The winners' confirmation and robustness records."""
    from results.selection.winners import winners  # noqa: PLC0415

    rng, found = random.Random(3), []
    for w in winners(records):
        rate, floor = STRENGTH.get(w.defense, (0.1, 0.5))
        start = Point(0, w.cda0, w.asr0)
        end = Point(
            w.step,
            w.cda - 0.002,
            min(1.0, w.eta + 0.01),
            extra={"asr_0": w.eta, "asr_1": min(1.0, w.eta + 0.02)},
        )
        metrics = {
            **CLEAN,
            "cda0": start.cda,
            "asr0": start.asr,
            "cda": end.cda,
            "asr": end.asr,
            "step": float(w.step),
        }
        one = trial("confirmation", w.defense, w.method.params, of=w.victim, trusted=w.trusted)
        curve: tuple[Point, ...] = (start, end) if w.step else (start,)
        found.append(Record(trial=one, status="done", metrics=metrics, curve=curve))
        for stop_at in [w.step, 0] if oracle else [w.step]:
            whole = _curve(rng, rate, floor + 0.02, 0.02, 3, seen=True, stop=not stop_at)
            curve = tuple(p for p in whole if not stop_at or p.step in (0, stop_at))
            real = {
                "n_clean": 10000.0,
                "n_triggered": 9000.0,
                "cda0": curve[0].cda,
                "asr0": curve[0].asr,
                "val_cda0": curve[0].extra["val_cda"],
            }
            one = trial(
                "robustness",
                w.defense,
                w.method.params,
                of=w.victim,
                trusted=w.trusted,
                game_params={"stop_at": stop_at},
            )
            found.append(Record(trial=one, status="done", metrics=real, curve=curve))
    return found


# step, CDA, ASR: falls out of Δ at 150, comes back at 200, where the ASR is lower than at 100
CURVE = [
    (0, 0.95, 1.0),
    (50, 0.94, 0.6),
    (100, 0.93, 0.3),
    (150, 0.90, 0.0),
    (200, 0.94, 0.2),
    (250, 0.93, 0.2),
]


def real(
    curve: list[tuple[int, float, float]], seen: list[float] | None = None, **kwargs: object
) -> Record:
    record = tuned(curve, "robustness", **kwargs)
    if seen is None:
        return record
    points = [
        dataclasses.replace(p, extra={"val_cda": v})
        for p, v in zip(record.curve, seen, strict=True)
    ]
    return dataclasses.replace(record, curve=tuple(points))


def config(
    lr: float, eta: float, seed: int = 0, cda: float = 0.94, defense: str = "weight_decay"
) -> Record:
    return tuned([(0, 0.95, 1.0), (50, cda, eta)], "tuning", defense, {"lr": lr}, seed=seed)
