"""What one kind of planted trigger says, and what several say: in what order they put the settings,
what the choice gives away, and how a choice made by one kind does against the others.

    poisonsweep run examples/answer-small.toml --local --store sqlite:///answer.db
    python -m benchmarks.by_kind --store sqlite:///answer.db [--scheme late] [--out FILE]

Reads the stores of sweeps with ``judge_all`` and ``cost = "both"``, whose copies carry several
kinds of trigger. Each kind by itself, the worst of them and their mean take of each setting the
step that leaves least among those that cost the victim at most 2 points on held-out images (where
all cost more, the cheapest), and of all settings within 2 points the one that leaves least.

The first table tells Kendall's τ of what they say and what is left of the real attack: its mean
over the victims on which there is one, with an interval (95 %, victims resampled); how far it lies
below that of the worst kind on the same victims; and the regret: what the choice leaves of the real
attack, less the least that any setting leaves at any of the steps that are taken within 2 points.
The second tells what a choice made by one kind gives away against each other kind and the real
attack, in points, the mean over the victims on which something costs at most 2 points; by the kind
itself that is nothing. A victim whose attack was not learned (ASR below 80 %) proves nothing and is
left out.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from pathlib import Path
from statistics import fmean, median

import pandas as pd

from benchmarks._shared import TINY, parsed, refusing
from benchmarks.prediction import TINY_SWEEP, of_learned
from results.selection.configurations import Configuration, configurations, of_game
from results.selection.forecast import scheme_of
from results.selection.labels import attack
from results.selection.rules import SLACK, curve_of, kinds_of
from results.stats.correlation import correlation
from results.stats.intervals import bootstrap
from results.store import Store
from sweep import api
from sweep.spec import sweep_file
from trials.self_poisoning import MIXED
from trials.spec import Point, Record

WORST, MEAN, REAL = "worst", "mean", "real attack"
SEVERAL = 2  # kinds of trigger that copies have to carry
DIGITS = 5
Runs = list[dict[int, Point]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one kind, the worst or the mean says of a setting, at the step that it takes of it.

    Attributes:
        method: id of the defense and its settings.
        copies: id of how its copies were poisoned and measured.
        by: the kind; ``worst`` or ``mean`` of all.
        cost: clean accuracy that the victim loses on held-out images; ``within`` Δ or not.
        asr: what is left, a fraction, by what ``by`` says.
        left: of each kind, as JSON.
        eta: of the real attack, on test images.
    """

    victim: str
    attack: str
    victim_seed: int
    trusted: float
    scheme: str
    copies: str
    by: str
    defense: str
    method: str
    step: int
    cost: float
    within: bool
    asr: float
    left: str
    eta: float


def said(records: Sequence[Record], delta: float = 0.02) -> Iterator[Said]:
    """Of each setting that ran on copies of several kinds and to its end on the real attack."""
    real: dict[tuple[str, float, str], Runs] = defaultdict(list)
    for r in of_game(records, "robustness"):
        if r.status == "done" and r.trial.method and not r.trial.game.params.get("stop_at"):
            run = {p.step: p for p in curve_of(r)}
            real[r.trial.victim.id, r.trial.trusted, r.trial.method.id].append(run)
    for c in configurations(records):
        runs = real.get((c.victim.id, c.task.trusted, c.method.id))
        if runs and c.curve and len(c.kinds) >= SEVERAL and c.method.name != "none":
            yield from _of_setting(c, runs, delta)


def _of_setting(c: Configuration, runs: Runs, delta: float) -> Iterator[Said]:
    known = set.intersection(*map(set, runs))
    points = [p for p in c.curve[1:] if p.step in known]
    cost = {p.step: _lost(runs, p.step) for p in points}
    within = [p for p in points if cost[p.step] <= delta + SLACK]
    planted = c.records[0].trial.self_poisoning
    for by in [*sorted(c.kinds), WORST, MEAN] if points else []:
        ranked = [(_asr(p, by), cost[p.step], p.step, p) for p in within]
        at = min(ranked)[-1] if ranked else min(points, key=lambda p: cost[p.step])
        yield Said(
            victim=c.victim.id,
            attack=attack(c.victim),
            victim_seed=c.victim.seed,
            trusted=c.task.trusted,
            scheme=scheme_of(planted.params) if planted else "",
            copies=c.task.game,
            by=by,
            defense=c.method.name,
            method=c.method.id,
            step=at.step,
            cost=cost[at.step],
            within=bool(within),
            asr=_asr(at, by),
            left=json.dumps({k: round(v, DIGITS) for k, v in sorted(kinds_of(at).items())}),
            eta=fmean(run[at.step].asr for run in runs),
        )


def _lost(runs: Runs, step: int) -> float:
    """Clean accuracy on held-out images since step 0, the mean over seeds."""
    return fmean(r[0].extra["val_cda"] - r[step].extra["val_cda"] for r in runs)


def _asr(point: Point, by: str) -> float:
    kinds = kinds_of(point)
    if by == WORST:
        return max(kinds.values())
    return fmean(kinds.values()) if by == MEAN else kinds[by]


Group = dict[str, list[Said]]  # of one victim and share of trusted images, by what says it


def groups(found: Iterable[Said]) -> dict[tuple[str, ...], list[Group]]:
    """By scheme and kinds, those among which one defender chooses."""
    each: dict[tuple[str, str, float, str], Group] = defaultdict(lambda: defaultdict(list))
    # what two stores have counts once
    once = {(o.victim, o.trusted, o.copies, o.by, o.method): o for o in found}
    for one in once.values():
        each[one.scheme, one.victim, one.trusted, one.copies][one.by].append(one)
    schemes: dict[tuple[str, ...], list[Group]] = defaultdict(list)
    for (scheme, *_), group in sorted(each.items()):
        schemes[scheme, *group].append(group)
    return schemes


def order(some: Sequence[Said]) -> float | None:
    """Kendall's τ of what is said and the real ASR; None where one side is constant."""
    return correlation(
        [one.asr for one in some], [one.eta for one in some], "kendall", draws=1
    ).value


def taken(some: Sequence[Said]) -> Said | None:
    """What leaves least of those within Δ; None where there is none."""
    within = (one for one in some if one.within)
    return min(within, key=lambda one: (round(one.asr, 12), one.cost), default=None)


def given_away(group: Group, by: str, to: str) -> float | None:
    """What the choice by one kind leaves of another, or of the real attack, less the least that any
    setting within Δ does; None where none is within Δ.
    """
    chosen = taken(group[by])
    if chosen is None:
        return None
    if to == REAL:
        every = chain.from_iterable(group.values())
        return chosen.eta - min(one.eta for one in every if one.within)
    left = json.loads(chosen.left)
    return float(left[to]) - min(round(one.asr, DIGITS) for one in group[to] if one.within)


def orders(mine: Sequence[Group]) -> list[str]:
    """The first table's rows, for one scheme."""
    lines = []
    for by in mine[0]:
        taus = {i: tau for i, g in enumerate(mine) if (tau := order(g[by])) is not None}
        worst = {i: tau for i, g in enumerate(mine) if (tau := order(g[WORST])) is not None}
        less = [worst[i] - taus[i] for i in taus if i in worst]
        lost = [r for g in mine if (r := given_away(g, by, REAL)) is not None]
        regret = f"{100 * median(lost):.0f}, {100 * max(lost):.0f} ({len(lost)})" if lost else "-"
        lines.append(
            f"| {by} | {_mean(list(taus.values()))} | {len(taus)} | "
            f"{'' if by == WORST else _mean(less)} | {regret} |"
        )
    return lines


def _mean(values: Sequence[float]) -> str:
    """With its interval where there are several."""
    if len(values) < SEVERAL:
        return f"{values[0]:.2f}" if values else "-"
    low, high = bootstrap(values)
    return f"{fmean(values):.2f} ({low:.2f} to {high:.2f})"


def exchanged(mine: Sequence[Group]) -> list[str]:
    """The second table's rows, for one scheme."""
    kinds = [by for by in mine[0] if by not in {WORST, MEAN}]
    lines = list[str]()
    for by in mine[0]:
        cells = ["" if to == by else _points(mine, by, to) for to in (*kinds, REAL)]
        lines.append(f"| {' | '.join([by, *cells])} |")
    return lines


def _points(mine: Sequence[Group], by: str, to: str) -> str:
    """With an interval against the real attack."""
    lost = [100 * r for g in mine if (r := given_away(g, by, to)) is not None]
    if to != REAL or len(lost) < SEVERAL:
        return f"{fmean(lost):.0f}" if lost else "-"
    low, high = bootstrap(lost)
    return f"{fmean(lost):.0f} ({low:.0f} to {high:.0f})"


def table(found: Sequence[Said]) -> list[str]:
    """Both tables of each scheme, in Markdown."""
    lines = list[str]()
    for (scheme, *_), mine in groups(found).items():
        kinds = [by for by in mine[0] if by not in {WORST, MEAN}]
        lines += [
            f"`{scheme}`:",
            "",
            "| by | Kendall τ | victims | below the worst's | regret (pp), median, worst (n) |",
            "|---|--:|--:|--:|--:|",
            *orders(mine),
            "",
            f"| chosen by | {' | '.join(kinds)} | {REAL} |",
            f"|---|{'--:|' * (len(kinds) + 1)}",
            *exchanged(mine),
            "",
        ]
    return lines


def said_in(urls: Iterable[str]) -> list[Said]:
    """Those in these stores."""
    found = list[Said]()
    for url in urls:
        with Store.read(url) as store:
            found += said(of_learned(list(store.records())))
    return found


def tiny() -> list[Said]:
    """Those of a sweep of seconds, on digits."""
    sweep = sweep_file.read(TINY_SWEEP)
    several = tuple({**p, "attack": MIXED} for p in sweep.self_poisoning)
    sweep = replace(sweep, self_poisoning=several, tuning={**sweep.tuning, "copies": SEVERAL})
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tiny.db"
        api.run(sweep, url)
        return said_in([url])


def rows_of(found: Sequence[Said]) -> pd.DataFrame:
    """A row each."""
    return pd.DataFrame([asdict(one) for one in found], columns=[f.name for f in fields(Said)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", nargs="+", default=[], help="stores to read")
    parser.add_argument("--out", type=Path, help="file for the rows")
    parser.add_argument("--scheme", nargs="+", default=[], help="these alone, as tables name them")
    given = parsed(parser)
    with refusing("by_kind"):
        found = tiny() if given.tiny else said_in(given.store)
    found = [one for one in found if not given.scheme or one.scheme in given.scheme]
    print("\n".join(table(found)) if found else "no setting ran on copies of several kinds")
    if given.tiny:
        print(TINY + json.dumps({"said": [asdict(one) for one in found]}))
    if given.out and found:
        rows_of(found).to_csv(given.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
