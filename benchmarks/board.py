"""One blind choice beside each defense at its best, which is chosen with the true trigger.

    poisonsweep run examples/board-small.toml --local --store sqlite:///board.db
    python -m benchmarks.board --store sqlite:///board.db --out benchmarks/results/board-small.csv

Public boards give a defense the setting and the point that leave the least of the true attack,
which no defender can see. Here each victim has one choice of the sweep's own rule, made without the
trigger and the test set, and beside it, for every defense, the least ASR that any of its settings
leaves within Δ on the test set. A victim counts as repaired with at most 5 % ASR left for at most
Δ. Reads stores of sweeps with ``judge_all``. A victim that did not learn its attack (ASR below
80 %), or that knows too little (CDA more than 5 points below that of its clean twin, where the
stores have one), is counted apart. Each cell is the victims repaired, the median ASR that is left,
and the median CDA lost in points.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import fmean, median

import pandas as pd

from benchmarks._shared import TINY, parsed
from results.selection.configurations import of_game
from results.selection.forecast import scheme_of
from results.selection.labels import attack, settings
from results.selection.rules import DEFAULT_RULE, OWN_RULE, SLACK, WORST_RULE, curve_of
from results.selection.winners import REPAIRED, Winner, overall, winners
from results.stats.intervals import wilson
from results.store import Store
from sweep import api
from sweep.spec import sweep_file
from trials.spec import Point, Record

LEARNED, KNOWS = 0.8, 0.05  # ASR from which a victim counts; CDA that it may lack of a clean one's
CHOOSES = (DEFAULT_RULE, OWN_RULE, WORST_RULE)  # that a defender can follow
BLIND = "blind choice"
BEST = "best of all, by the true trigger"
TINY_SWEEP = Path(__file__).with_name("prediction_tiny.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What one victim is left with, by one way of choosing; fractions.

    Attributes:
        scheme: how the copies were poisoned; empty where the true trigger chose.
        chooser: ``blind choice``; or the defense, or all of them, whose best is taken with the
            true trigger.
        cda_clean: of the clean twin; None where the stores have none.
        promised: what the rule saw left; None where the true trigger chose.
        cda_loss_seen: the cost that the choice was made by.
        eta, cda_loss: of the true attack, on the test set, at ``step``; where that run was ended
            before it, because it cost too much for several points in a row, at its last point.
    """

    victim: str
    attack: str
    victim_seed: int
    trusted: float
    cda: float
    cda_clean: float | None
    asr: float
    scheme: str
    rule: str
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
        return self.eta <= REPAIRED and self.cda_loss <= self.delta + SLACK


def repairs(records: Sequence[Record], rule: str = WORST_RULE) -> list[Repair]:
    """The blind choice for each victim and share of trusted images, and each defense's best.

    Raises:
        SystemExit: a victim has several choices, as its copies were poisoned in several ways; or no
            run on the true attack of what was chosen.
    """
    trained = {
        r.trial.victim.id: r
        for r in records
        if r.trial.game.name == "training" and r.status == "done"
    }
    clean = {
        (v.kin, v.seed): r.metrics["cda"]
        for r in trained.values()
        if not (v := r.trial.victim).attacks and not v.filter
    }
    real = _whole(records)
    found = list[Repair]()
    blind = [w for w in overall(winners(records, rule)) if w.victim.id in trained]
    blind = [w for w in blind if w.victim.attacks]
    if len({(w.victim.id, w.trusted) for w in blind}) < len(blind):
        raise SystemExit(
            "a victim has several choices: give sweeps with one [self_poisoning] table"
        )
    best = winners(records, "oracle")
    choices = [*product([BLIND], blind), *product([BEST], overall(best))]
    for chooser, w in [*choices, *((w.defense, w) for w in best)]:
        runs = real[w.victim.id, w.trusted, w.method.id]
        if not runs:
            name = f"{attack(w.victim)}, seed {w.victim.seed}"
            raise SystemExit(f"{name}: {w.defense} was chosen and never ran on the true attack")
        before, after = _until(runs, 0), _until(runs, w.step)
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
                scheme=_scheme(w) if chooser == BLIND else "",
                rule=w.rule,
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


def _scheme(w: Winner) -> str:
    return scheme_of(w.trial.self_poisoning.params) if w.trial.self_poisoning else ""


def _until(runs: Sequence[Record], step: int) -> Point:
    """The mean over runs at that step, or at the last before it that a run has."""
    points = [max(curve_of(r), key=lambda p: (p.step <= step, p.step)) for r in runs]
    return Point(points[0].step, fmean(p.cda for p in points), fmean(p.asr for p in points))


def repairs_in(urls: Iterable[str], rule: str) -> list[Repair]:
    """Those of all these stores."""
    records: list[Record] = []
    for url in urls:
        with Store.read(url) as store:
            records += store.records()
    return repairs(records, rule)


def tables(found: Sequence[Repair]) -> list[str]:
    """One for each share of trusted images."""
    lines = list[str]()
    for trusted in sorted({r.trusted for r in found}):
        some = [r for r in found if r.trusted == trusted]
        lines += [f"{100 * trusted:g} % of the training images are trusted:", "", *table(some), ""]
    return lines


def table(found: Sequence[Repair]) -> list[str]:
    """Victims repaired of those that count, the median ASR left and the median cost, by attack and
    in all.
    """
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
    cost = 100 * median(r.cda_loss for r in some)
    return f"{repaired} of {len(some)}, {left:.0f} % ({cost:.1f})"


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
    parser.add_argument("--rule", default=WORST_RULE, choices=CHOOSES, help="of the blind choice")
    parser.add_argument("--out", type=Path, help="file for the rows")
    given = parsed(parser)
    found = tiny() if given.tiny else repairs_in(given.store, given.rule)
    print("\n".join(tables(found)) if found else "no setting ran on a real attack, to its end")
    if given.tiny:
        print(TINY + json.dumps({"repairs": [asdict(r) for r in found]}))
    if given.out and found:
        rows = pd.DataFrame([asdict(r) for r in found])
        rows.to_csv(given.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
