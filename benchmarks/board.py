"""One blind choice beside each defense at its best, which is chosen with the true trigger.

    poisonsweep run examples/board-small.toml --local --store sqlite:///board.db
    python -m benchmarks.board --store sqlite:///board.db --out benchmarks/results/board-small.csv

Public boards give a defense the setting and the point that leave the least of the true attack,
which no defender can see. Here each victim has one choice of the sweep's own rule, made without the
trigger and the test set, and beside it, for every defense, the least ASR that any of its settings
leaves within Δ on the test set. A victim counts as repaired with at most 5 % ASR left for at most
Δ. Reads stores of sweeps with ``judge_all``. A victim that did not learn its attack (ASR below
80 %), or that knows too little (CDA more than 5 points below that of its clean twin, where the
stores have one), is counted apart.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, product
from pathlib import Path
from statistics import fmean, median

import pandas as pd

from benchmarks._shared import TINY, parsed
from results.selection.configurations import of_game
from results.selection.labels import attack, settings
from results.selection.rules import WORST_RULE, curve_of
from results.selection.winners import REPAIRED, overall, winners
from results.stats.intervals import wilson
from results.store import Store
from sweep import api
from sweep.spec import sweep_file
from trials.spec import Point, Record

LEARNED, KNOWS = 0.8, 0.05  # ASR from which a victim counts; CDA that it may lack of a clean one's
BLIND = "blind choice"
BEST = "best of all, by the true trigger"
TINY_SWEEP = Path(__file__).with_name("prediction_tiny.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What one victim is left with, by one way of choosing; fractions.

    Attributes:
        chooser: ``blind choice``; or the defense, or all of them, whose best is taken with the
            true trigger.
        cda_clean: of the clean twin; None where the stores have none.
        promised: what the rule saw left; None where the true trigger chose.
        cda_loss_seen: the cost that the choice was made by.
    """

    victim: str
    attack: str
    victim_seed: int
    trusted: float
    cda: float
    cda_clean: float | None
    asr: float
    chooser: str
    defense: str
    settings: str
    step: int
    promised: float | None
    cda_loss_seen: float
    eta: float
    cda_loss: float
    delta: float
    n: int

    @property
    def counts(self) -> bool:
        knows = self.cda_clean is None or self.cda >= self.cda_clean - KNOWS
        return self.asr >= LEARNED and knows

    @property
    def repaired(self) -> bool:
        return self.eta <= REPAIRED and self.cda_loss <= self.delta


def repairs(records: Sequence[Record], rule: str = WORST_RULE) -> list[Repair]:
    """The blind choice for each victim and share of trusted images, and each defense's best."""
    trained = {
        r.trial.victim.id: r
        for r in records
        if r.trial.game.name == "training" and r.status == "done"
    }
    clean = {
        (v.kin, v.seed): r.metrics["cda"]
        for r in trained.values()
        if not (v := r.trial.victim).attacks
    }
    real = _whole(records)
    found = list[Repair]()
    blind = [w for w in overall(winners(records, rule)) if w.victim.attacks]
    best = winners(records, "oracle")
    choices = [*product([BLIND], blind), *product([BEST], overall(best))]
    for chooser, w in [*choices, *((w.defense, w) for w in best)]:
        runs = real[w.victim.id, w.trusted, w.method.id]
        before, after = _at(runs, 0), _at(runs, w.step)
        if before is None or after is None or w.victim.id not in trained:
            continue
        metrics = trained[w.victim.id].metrics
        found.append(
            Repair(
                victim=w.victim.id,
                attack=attack(w.victim),
                victim_seed=w.victim.seed,
                trusted=w.trusted,
                cda=metrics["cda"],
                cda_clean=clean.get((w.victim.kin, w.victim.seed)),
                asr=metrics["asr"],
                chooser=chooser,
                defense=w.defense,
                settings=settings(w.method),
                step=w.step,
                promised=w.eta if chooser == BLIND else None,
                cda_loss_seen=w.cda_loss,
                eta=after.asr,
                cda_loss=before.cda - after.cda,
                delta=w.delta,
                n=int(runs[0].metrics.get("n_triggered", 0)),
            )
        )
    return found


def _whole(records: Sequence[Record]) -> dict[tuple[str, float, str], list[Record]]:
    """Runs to the end on the real attack, of each victim, share of trusted images and setting."""
    found: dict[tuple[str, float, str], list[Record]] = defaultdict(list)
    for r in of_game(records, "robustness"):
        if r.status == "done" and r.trial.method and not r.trial.game.params.get("stop_at"):
            found[r.trial.victim.id, r.trial.trusted, r.trial.method.id].append(r)
    return found


def _at(runs: Sequence[Record], step: int) -> Point | None:
    """The mean over runs at that step; None where one of them did not measure it."""
    points = [p for p in chain.from_iterable(map(curve_of, runs)) if p.step == step]
    if not runs or len(points) != len(runs):
        return None
    return Point(step, fmean(p.cda for p in points), fmean(p.asr for p in points))


def repairs_in(urls: Iterable[str], rule: str) -> list[Repair]:
    """Those of all these stores."""
    found: list[Repair] = []
    for url in urls:
        with Store.read(url) as store:
            found += repairs(list(store.records()), rule)
    return found


def table(found: Sequence[Repair]) -> list[str]:
    """Victims repaired of those that count, and the median ASR left, by attack and in all."""
    valid = [r for r in found if r.counts]
    attacks = sorted({r.attack for r in valid})
    head = ["", *attacks, "all", "95 % interval"]
    lines = [_line(head), _line(["---", *["--:"] * (len(head) - 1)])]
    by = defaultdict[str, list[Repair]](list)
    for r in valid:
        by[r.chooser].append(r)
    for chooser, mine in sorted(by.items(), key=_order):
        cells = [_cell(mine, a) for a in attacks]
        interval = wilson(sum(r.repaired for r in mine) / len(mine), len(mine))
        said = f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"
        lines.append(_line([chooser, *cells, _cell(mine), said]))
    left_out = {(r.victim, r.attack) for r in found if not r.counts}
    return [*lines, "", f"{len(left_out)} victims left out: attack not learned, or low CDA"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _order(one: tuple[str, Sequence[Repair]]) -> tuple[bool, bool, int, float]:
    """The blind choice first, then the best of all, then by repaired victims."""
    chooser, mine = one
    repaired = sum(r.repaired for r in mine)
    return chooser != BLIND, chooser != BEST, -repaired, median(r.eta for r in mine)


def _cell(mine: Sequence[Repair], of: str = "") -> str:
    """Of one attack, or of all."""
    some = [r for r in mine if r.attack == of or not of]
    if not some:
        return "–"
    repaired, left = sum(r.repaired for r in some), 100 * median(r.eta for r in some)
    return f"{repaired} of {len(some)}, {left:.0f} %"


def tiny() -> list[Repair]:
    """Those of a sweep of seconds, on digits."""
    sweep = sweep_file.read(TINY_SWEEP)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tiny.db"
        api.run(sweep, url)
        return repairs_in([url], sweep.rule)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", nargs="+", default=[], help="stores to read")
    parser.add_argument("--rule", default=WORST_RULE, help="of the blind choice")
    parser.add_argument("--out", type=Path, help="file for the rows")
    given = parsed(parser)
    found = tiny() if given.tiny else repairs_in(given.store, given.rule)
    print("\n".join(table(found)) if found else "no setting ran on a real attack, to its end")
    if given.tiny:
        print(TINY + json.dumps({"repairs": [asdict(r) for r in found]}))
    if given.out and found:
        rows = pd.DataFrame([asdict(r) for r in found])
        rows.to_csv(given.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
