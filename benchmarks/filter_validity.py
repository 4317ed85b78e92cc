"""Whether poison of the defender's own stands for others': the four tests of it, on victims of one
attack each and on clean ones.

    python -m benchmarks.filter_validity [--seeds N] [--attacks NAME ...] [--filters NAME ...]
        [--dataset NAME] [--size N] [--model NAME] [--epochs N] [--m N] [--trained N] [--minutes N]

(a) Scores of both are alike; (b) of real attacks as much is found as is promised; (c) the threshold
that own poison sets removes fewer rows than a share of 40 % and leaves no more; (d) of a clean set
it removes little. An attack that its victim did not learn counts in none of them. Of (b) there is
the form of a mean, which conformal prediction promises, and the share of pairs in which enough is
found. Each filter has its first setting. After ``--minutes`` no further victim is begun. Writes
benchmarks/results/filter_validity.json, with a row a victim and filter.
"""

import argparse
import itertools
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean, stdev
from typing import Any

import torch

from benchmarks._shared import must, parsed, write
from results.comparison.own_poison import FIXED, LEAST_PAIRS, validities
from sweep.planning import filtering
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Sweep
from trials.dependencies import filtering_of, graph, training_of
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import LEARNED, RECALL, Record, Victim
from trials.storage.artifacts import Artifacts

ATTACKS = (
    *("badnets", "blended", "patch4", "sinusoid", "blend_pattern", "frequency", "c_badnets"),
)
FILTERS = ("spectral_signatures", "scan")
BETA = 0.1
_Row = Mapping[str, Any]


def sweep_of(asked: argparse.Namespace) -> Sweep:
    """A clean victim and one of each attack, for each seed."""
    training = {"name": "fast", "epochs": asked.epochs, "batch": 64, "peak": 0.2}
    size = {"size": asked.size} if asked.size else {}
    victim = {
        "dataset": {"name": asked.dataset, **size},
        "model": asked.model,
        "reserve": asked.trusted,
        "training": training,
        "attacks": ["none", *({"name": name, "m": asked.m} for name in asked.attacks)],
        "targets": [3],
        "seeds": list(range(asked.seeds)),
    }
    given = {"profile": "small", "limit": 1, "reject": [RECALL, FIXED], "beta": BETA}
    return sweep_file.parse(
        {
            "victim": victim,
            "game": "filtering",
            "trusted": asked.trusted,
            "self_poisoning": {"attacks": 4, "redraws": asked.redraws},
            "filters": [{"name": name, **given} for name in asked.filters],
        },
        "filter-validity",
    )


def of_victim(sweep: Sweep, victim: Victim, trained: bool) -> Iterator[Record]:
    """The records of a victim, of every filter of it, and, where asked for, of the models of what
    they keep; own poison is drawn from the victim's seed.
    """
    sweep = replace(sweep, victims=(victim,), seeds=(victim.seed,))
    mine = list(itertools.chain.from_iterable(filtering.filtered(sweep, f) for f in sweep.filters))
    with tempfile.TemporaryDirectory() as folder:
        runtime = TrialRuntime(Artifacts(folder))
        for trial in graph(map(training_of if trained else filtering_of, mine)):
            record = run(trial, runtime)
            # a threshold may remove every row, so that there is nothing to train on
            yield record if trial.game.name == "training" and trial.victim.filter else must(record)


def learned(records: Sequence[Record], victim: Victim) -> bool:
    """Whether a victim learned its attack; a clean one has none to learn."""
    return not victim.attacks or _before(records, victim)["asr"] >= LEARNED


def _before(records: Sequence[Record], victim: Victim) -> Mapping[str, float]:
    key = training_of(victim).id
    return next(r.metrics for r in records if r.trial.id == key)


def rows_of(records: Sequence[Record], victim: Victim) -> list[_Row]:
    """A row a filter of the victim."""
    attack = victim.attacks[0].name if victim.attacks else ""
    of: dict[tuple[str, str], dict[float | str, Mapping[str, float]]] = {}
    for r in records:
        if (given := r.trial.victim.filter) and r.status == "done":
            key = given.method.name, r.trial.game.name
            of.setdefault(key, {})[given.reject] = r.metrics
    names = sorted({name for name, _ in of})
    rows = list[_Row]()
    for name in names:
        scored, after = of[name, "filtering"], of.get((name, "training"), {})
        mine, fixed, left = scored[RECALL], scored[FIXED], after.get(RECALL, {})
        rows.append(
            {
                "attack": attack or "none",
                "seed": victim.seed,
                "filter": name,
                "learned": learned(records, victim),
                "asr_before": _before(records, victim).get("asr"),
                "own_attacks_learned": mine["own_learned"],
                "own_found": mine["own_recall"],
                "own_clean_removed": mine["own_fpr"],
                "distance": mine.get(f"ks/{attack}"),
                "auroc": mine.get("auroc"),
                "found": mine.get(f"removed/{attack}"),
                "removed": mine["removed"],
                "removed_fixed": fixed["removed"],
                "asr": left.get("asr"),
                "asr_fixed": after.get(FIXED, {}).get("asr"),
                "cda_lost": _before(records, victim)["cda"] - left["cda"] if left else None,
            }
        )
    return rows


def summary(rows: Sequence[_Row], name: str) -> dict[str, Any]:
    """Number, mean and standard deviation of what each test is about, for a filter."""
    mine = [r for r in rows if r["filter"] == name and r["learned"]]
    of = [r for r in mine if r["attack"] != "none"]
    clean = [r for r in mine if r["attack"] == "none"]
    trained = [r for r in of if r["asr"] is not None and r["asr_fixed"] is not None]
    covered = [r["found"] >= 1 - BETA - 1e-9 for r in of]
    error = math.sqrt(BETA * (1 - BETA) / len(of)) if of else 0.0
    return {
        "a_distance": _spread([r["distance"] for r in of]),
        "b_found": _spread([r["found"] for r in of]),
        "b_pairs_found_enough": sum(covered),
        "b_pairs": len(of),
        "b_needed_share_of_pairs": 1 - BETA - 1.64 * error if len(of) >= LEAST_PAIRS else None,
        "b_every_row_removed": sum(r["removed"] == 1 for r in mine),
        "c_asr_less_than_fixed": _spread([r["asr"] - r["asr_fixed"] for r in trained]),
        "c_removed_less_than_fixed": _spread([r["removed"] - r["removed_fixed"] for r in trained]),
        "d_removed": _spread([r["removed"] for r in clean]),
        "d_cda_lost": _spread([r["cda_lost"] for r in clean if r["cda_lost"] is not None]),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"n": 0}
    sd = stdev(values) if len(values) > 1 else math.nan
    return {"n": len(values), "mean": fmean(values), **({} if math.isnan(sd) else {"sd": sd})}


def measure(asked: argparse.Namespace) -> tuple[list[_Row], list[Record]]:
    """Rows of all victims, and the records of those that learned their attack."""
    sweep, ends = sweep_of(asked), time.monotonic() + 60 * asked.minutes
    rows, counted = list[_Row](), list[Record]()
    for number, victim in enumerate(sorted(sweep.victims, key=lambda v: v.seed)):
        if rows and time.monotonic() > ends:
            print(f"{asked.minutes:g} minutes are over")
            break
        records = list(of_victim(sweep, victim, number < asked.trained))
        rows += rows_of(records, victim)
        counted += records if learned(records, victim) else []
        print(f"{rows[-1]['attack']}, seed {victim.seed}: done", flush=True)
    return rows, counted


def main() -> None:
    """Measure, print the tests, write the figures."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--attacks", nargs="+", default=list(ATTACKS))
    words.add_argument("--filters", nargs="+", default=list(FILTERS))
    words.add_argument("--dataset", default="digits")
    words.add_argument("--size", type=int, default=0, help="of an image; 0: the data set's own")
    words.add_argument("--model", default="small_cnn")
    words.add_argument("--epochs", type=int, default=12)
    words.add_argument("--m", type=int, default=60, help="poisoned rows")
    words.add_argument("--trusted", type=float, default=0.25)
    words.add_argument("--redraws", type=int, default=2)
    words.add_argument("--trained", type=int, default=99, help="victims with models of kept rows")
    words.add_argument("--minutes", type=float, default=60)
    tiny = {"seeds": 1, "attacks": ["badnets"], "filters": ["spectral_signatures"], "epochs": 4}
    asked = parsed(words, **tiny, redraws=0)
    torch.set_num_threads(1)
    rows, counted = measure(asked)
    tests = list(map(asdict, validities(counted)))
    for v in tests:
        print(f"({v['test']}) {v['filter']}: {v['what']}: {v['value']:.3g}, {v['holds']}")
    figures = {
        "asked": vars(asked),
        "tests": tests,
        "summary": {name: summary(rows, name) for name in asked.filters},
        "rows": rows,
    }
    write("filter_validity", figures, tiny=asked.tiny)


if __name__ == "__main__":
    main()
