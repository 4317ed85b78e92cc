"""How long ``status``, ``best`` and ``report`` take on a store with many records, and their memory.

    python -m benchmarks.large_store [--records 10000] [--url URL] [--name NAME] [--keep FILE.db]
        [--only start best]

Fills a store with the records of one made-up sweep, in batches: eight tasks (four victims, two
shares of trusted images), ten defenses, two seeds, copies that carry three kinds of trigger, curves
of eight points with what the tuning game measures, one trial in a hundred failed and one pruned,
copies, confirmations, frozen and whole runs against the real attack. Each command is a process of
its own: seconds from its start to its end, the processor's seconds (which other work on the machine
does not change), and its peak memory. Writes benchmarks/results/NAME.json, large-store if it is
left out.
"""

import argparse
import math
import os
import platform
import random
import tempfile
import time
from collections.abc import Collection, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

from benchmarks._shared import ROOT, cost_of, parsed, write
from results.store import Store
from trials.spec import MethodConfig, Point, Record, Scalar, Trial, Victim

SWEEP = "large"
COMMANDS = ("start", "status", "best", "report")
KINDS = ("a_blend", "patch", "warp")
DEFENSES = (
    *("pivotal_tuning", "fine_pruning", "fine_tuning", "weight_decay", "nad"),
    *("ft_sam", "fst", "anp", "sau", "neural_cleanse"),
)
BATCH, STEPS, EVERY = 5000, 8, 50
SIZES = {"n_clean": 400.0, "n_triggered": 360.0, "copies": 3.0}
POISONING = MethodConfig(
    "self_poison",
    {"attack": "mixed", "steps": 200, "batch": 128, "lr": 0.05, "scheme": "distilled"},
)
PROVENANCE = {
    "python": platform.python_version(),
    "revision": "0" * 40,
    "host": "node-1",
    "device": "cuda:0",
    "torch": "2.5.0",
    "started": "2026-01-01T00:00:00.000+00:00",
}
TRACEBACK = "Traceback (most recent call last):\n" + 20 * '  File "x.py", line 1, in f\n' + "{}"


def victims() -> list[Victim]:
    return [
        Victim(
            dataset=MethodConfig("cifar10"),
            model=MethodConfig("resnet18", {"width": 64}),
            attacks=(MethodConfig("badnets", {"m": m, "patch": 3, "target": 0}),),
            training=MethodConfig("fast", {"epochs": 24, "batch": 512, "peak": 0.4}),
            seed=seed,
        )
        for m, seed in product((500, 50), (0, 1))
    ]


def trial(of: Victim, game: MethodConfig, trusted: float, seed: int, **roles: Any) -> Trial:
    return Trial(game=game, victim=of, trusted=trusted, seed=seed, **{"method": None, **roles})


def settings(rng: random.Random) -> dict[str, Scalar]:
    return {
        "lr": 10 ** rng.uniform(-3, -1),
        "steps": 2000,
        "batch": 32 << rng.randrange(3),
        "lambda": 10 ** rng.uniform(-4, 0),
        "optimizer": ("sgd", "adam")[rng.randrange(2)],
        "schedule": "constant",
    }


def curve(rng: random.Random, floor: float, steps: int = STEPS) -> tuple[Point, ...]:
    """Falls from an ASR of 0.98 to ``floor``, at a cost of one point of CDA."""
    points = []
    for i in range(steps):
        asr = floor + (0.98 - floor) * math.exp(-i)
        asrs = [min(1.0, max(0.0, asr + (i > 0) * rng.gauss(0, 0.01))) for _ in KINDS]
        cdas = [0.94 - 0.01 * i / steps + rng.gauss(0, 0.001) for _ in KINDS]
        extra = {f"asr_{k}": a for k, a in enumerate(asrs)}
        extra |= {f"cda_{k}": c for k, c in enumerate(cdas)}
        extra |= {f"asr/{kind}": a for kind, a in zip(KINDS, asrs, strict=True)}
        extra |= {"asr_sd": 0.01, "cda_sd": 0.001, "cda_copies": sum(cdas) / 3}
        points.append(Point(EVERY * i, sum(cdas) / 3, sum(asrs) / 3, 1.5 * i, extra))
    return tuple(points)


def done(of: Trial, points: tuple[Point, ...] = (), **metrics: float) -> Record:
    start = {"cda0": points[0].cda, "asr0": points[0].asr} if points else {}
    return Record(
        trial=of,
        status="done",
        metrics={**start, **SIZES, **metrics},
        curve=points,
        seconds=30.0,
        provenance=PROVENANCE,
    )


def failed(of: Trial, what: str) -> Record:
    error = TRACEBACK.format(what)
    return Record(trial=of, status="failed", error=error, seconds=1.0, provenance=PROVENANCE)


def before_tuning() -> Iterator[Record]:
    """The victims and their copies."""
    for of in victims():
        game = MethodConfig("training", {})
        yield done(trial(of, game, 0.0, 0), (), cda=0.94, asr=0.99)
        for trusted, seed, copy in product((0.01, 0.05), (0, 1), range(3)):
            game = MethodConfig("self_poison", {**POISONING.params, "copy": copy})
            facts = {"cda": 0.93, "cda_before": 0.94, "asr": 0.99, "asr_before": 0.01}
            yield done(trial(of, game, trusted, seed), (), **facts)


def after_tuning(of: Victim, trusted: float, seed: int, method: MethodConfig, rng: Any) -> Any:
    """A defense's winner, the first of its settings, confirmed and on the real attack."""
    last = EVERY * (STEPS - 1)
    confirmation = MethodConfig("confirmation", {"delta": 0.02, "stop_at": last})
    of_copies = {"method": method, "self_poisoning": POISONING}
    yield done(trial(of, confirmation, trusted, seed, **of_copies), curve(rng, 0.02))
    frozen = MethodConfig("robustness", {"delta": 0.02, "stop_at": last})
    yield done(trial(of, frozen, trusted, seed, method=method), curve(rng, 0.05))


def made_up(number: int) -> Iterator[Record]:
    """Records of the sweep, a few more than ``number``."""
    rng, tuning = random.Random(0), MethodConfig("tuning", {"copies": 3, "delta": 0.02})
    whole = MethodConfig("robustness", {"delta": 0.02})
    tasks = list(product(victims(), (0.01, 0.05)))
    each = max(1, number // (len(tasks) * len(DEFENSES) * 2))
    yield from before_tuning()
    for (of, trusted), defense, i in product(tasks, DEFENSES, range(each)):
        method = MethodConfig(defense, settings(rng))
        for seed in (0, 1):
            roles = {"method": method, "self_poisoning": POISONING}
            tried = trial(of, tuning, trusted, seed, **roles)
            drawn = rng.random() if i else 1.0
            if drawn < 0.01:
                yield failed(tried, "RuntimeError: the loss is not finite at step 12")
            elif drawn < 0.02:
                points = curve(rng, 0.9, 2)
                yield Record(trial=tried, status="pruned", curve=points, seconds=5.0)
            else:
                yield done(tried, curve(rng, 0.02 + 0.9 * i / each))
            if i == 0:
                yield from after_tuning(of, trusted, seed, method, rng)
        if i % 20 == 1:
            judged = trial(of, whole, trusted, 0, method=method)
            yield done(judged, curve(rng, 0.05 + 0.9 * i / each))


def fill(url: str, number: int) -> tuple[int, float]:
    """Records in a new store, and the seconds that filling it took."""
    began, records, count = time.perf_counter(), made_up(number), 0
    with Store.open(url) as store:
        store.add_sweep(SWEEP, {})
        while some := list(islice(records, BATCH)):
            store.put_many(some, SWEEP)
            count += len(some)
    return count, time.perf_counter() - began


def commands(url: str, folder: str, only: Collection[str]) -> dict[str, list[str]]:
    at = ["--sweep", SWEEP, "--store", url]
    known = {
        "start": ["--version"],
        "status": ["status", *at],
        "best": ["best", "--json", *at],
        "report": ["report", *at, "--out", f"{folder}/report.html"],
    }
    return {name: words for name, words in known.items() if name in only}


def main() -> None:
    """Fill, measure, print a table, write the figures."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--records", type=int, default=10_000)
    words.add_argument("--url", help="of a new, empty store; an SQLite file if left out")
    words.add_argument("--name", default="large-store", help="of the file of figures")
    words.add_argument("--keep", type=Path, help="this SQLite file: made, or taken as it is")
    words.add_argument("--only", nargs="+", choices=COMMANDS, default=COMMANDS, help="of these")
    asked = parsed(words, records=200)
    with tempfile.TemporaryDirectory() as folder:
        compiled = os.environ.get("PYTHONPYCACHEPREFIX", f"{folder}/compiled")
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": compiled}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        url = asked.url or f"sqlite:///{asked.keep or Path(folder, 'large.db')}"
        there = asked.keep is not None and asked.keep.exists()
        count, seconds = (0, 0.0) if there else fill(url, asked.records)
        if not asked.tiny:  # so that Python has compiled what the commands load
            small = f"sqlite:///{folder}/small.db"
            fill(small, 100)
            for words_of in commands(small, folder, asked.only).values():
                cost_of(["-m", "poisonsweep", *words_of], env)
        some = commands(url, folder, asked.only)
        figures = {
            name: cost_of(["-m", "poisonsweep", *words_of], env) for name, words_of in some.items()
        }
    for name, figure in figures.items():
        said = f"{figure['seconds']:8.2f} s {figure['cpu_seconds']:8.2f} s of the processor"
        print(f"{name:8} {said} {figure['peak_mib']:6.0f} MiB")
    about = {"records": asked.records, "filled": count, "fill_seconds": round(seconds, 1)}
    about["database"] = (asked.url or "sqlite").split(":", 1)[0]
    write(asked.name, {**figures, "setting": about}, tiny=asked.tiny)


if __name__ == "__main__":
    main()
