"""What became of a winner: confirmed on images that never chose anything, then met by the real
attack.

Selection takes the best of many noisy numbers, so its own number is too good; these are the ones to
believe.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from results.selection.configurations import least, of_game, spread
from results.selection.mean_curves import mean_curve
from results.selection.reconstructed import counts, form, left_of
from results.selection.rules import OF_ATTACK, OWN_RULES, curve_of, kinds_of, seen_by
from results.selection.winners import REPAIRED, Winner
from results.stats.intervals import Interval, bootstrap, mean_sd, wilson
from trials.spec import Point, Record, Trial, Victim


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutResult:
    """A winner at its chosen step on one split; means over records (seeds), fractions."""

    split: str  # "report" or "test"
    victim: Victim
    step: int
    eta: float
    cda: float
    asr0: float
    cda0: float
    interval: Interval | None
    cda_interval: Interval | None
    n_triggered: int | None
    n_clean: int | None
    n_seeds: int
    sd: float | None
    delta: float
    # of more than one, all numbers are means over models; interval and sd are over models too
    n_models: int = 1
    attack: str = ""  # one of several attacks on the victim; empty: all of them, as one ASR
    kinds: Mapping[str, float] = field(default_factory=dict)  # of copies: ASR by kind of trigger
    kinds0: Mapping[str, float] = field(default_factory=dict)  # and before the defense
    n_planted: int | None = None  # images that these were measured on
    # of copies, where it was measured: ASR after tuning with five stamped images, and the share of
    # the line from the poisoned to the repaired weights with an ASR above a half
    retuned: float | None = None
    path_share: float | None = None
    # ASR of the trigger that was reconstructed from the given model, where that counts; and before
    reconstructed: float | None = None
    reconstructed0: float | None = None
    reconstructed_form: str = ""  # of that trigger, mask or smooth

    @property
    def cda_loss(self) -> float:
        return self.cda0 - self.cda

    @property
    def repaired(self) -> bool:
        """η is at most 5 % and the CDA fell by no more than Δ, on this split."""
        return self.eta <= REPAIRED and self.cda_loss <= self.delta + 1e-9


def confirmed(winner: Winner, records: Iterable[Record]) -> HeldOutResult | None:
    """The winner on the report split of its own copies, at its own step; None where that was not
    measured.
    """
    fits = [
        r
        for r in _of(winner, records, "confirmation")
        if _same_copies(r.trial, winner.trial) and _last_step(r) == winner.step
    ]
    return _judge(fits, "report", winner) if fits else None


def _same_copies(one: Trial, other: Trial) -> bool:
    """Whether they ran on copies of the same model, poisoned in the same way."""

    def copies(trial: Trial) -> tuple[object, ...]:
        planted = trial.self_poisoning
        number = trial.game.params.get("copies")
        return trial.victim.id, planted.identity() if planted else None, number

    return copies(one) == copies(other)


def frozen(winner: Winner, records: Iterable[Record]) -> list[HeldOutResult]:
    """The winner, frozen, against the real attack on the test set: one result a victim.

    The tuned victim's own runs are taken where there are any; else those of victims with its
    dataset and model, as when the settings were chosen on a clean model and then used on attacked
    ones.
    """
    groups = _judged(winner, records)
    return [_judge(group, "test", winner) for _, group in sorted(groups.items())]


def on_clean(winner: Winner, records: Iterable[Record]) -> HeldOutResult | None:
    """The winner, frozen, on models like the victim that were never attacked, on the test set;
    None where it was run on none. Only its CDA means anything.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for r in _of(winner, records, "robustness"):
        v = r.trial.victim
        if not v.attacks and v.kin == winner.victim.kin and _stops(r, winner.step):
            groups[v.id].append(r)
    seen = [_judge(group, "test", winner) for _, group in sorted(groups.items())]
    return pooled(seen) if seen else None


def each_attack(winner: Winner, records: Iterable[Record]) -> list[HeldOutResult]:
    """As ``frozen``, for each attack on the victims of several: one result a victim and attack.

    Victims of one attack have none here: their one attack is in ``frozen``.
    """
    found = []
    for _, group in sorted(_judged(winner, records).items()):
        start = curve_of(group[0])[0].extra
        names = [k.removeprefix(OF_ATTACK) for k in start if k.startswith(OF_ATTACK)]
        found += [_judge(group, "test", winner, name) for name in names]
    return found


def _judged(winner: Winner, records: Iterable[Record]) -> dict[str, list[Record]]:
    """The frozen runs on the test set, by victim."""
    fits = [
        r
        for r in _of(winner, records, "robustness")
        if r.trial.victim.attacks and _stops(r, winner.step)
    ]
    own = [r for r in fits if r.trial.victim.id == winner.victim.id]
    alike = [
        r
        for r in fits
        if r.trial.victim.dataset == winner.victim.dataset
        and r.trial.victim.model == winner.victim.model
    ]
    groups: dict[str, list[Record]] = defaultdict(list)
    for r in own or alike:
        groups[r.trial.victim.id].append(r)
    return groups


def pooled(group: Sequence[HeldOutResult]) -> HeldOutResult:
    """The results of one winner on several victims as one: means over victims, intervals by
    bootstrap over them.
    """
    if len(group) == 1:
        return group[0]
    eta, sd = mean_sd([j.eta for j in group])
    return replace(
        group[0],
        eta=eta,
        cda=fmean(j.cda for j in group),
        asr0=fmean(j.asr0 for j in group),
        cda0=fmean(j.cda0 for j in group),
        interval=bootstrap([j.eta for j in group]),
        cda_interval=bootstrap([j.cda for j in group]),
        sd=sd,
        n_models=len(group),
    )


def _of(winner: Winner, records: Iterable[Record], game: str) -> list[Record]:
    method = winner.method.identity()
    return [
        r
        for r in of_game(records, game)
        if r.trial.method is not None
        and r.trial.method.name == winner.method.name
        and r.trial.trusted == winner.trusted
        and r.status == "done"
        and r.curve
        and r.trial.method.identity() == method
    ]


def _last_step(record: Record) -> int:
    return int(record.metrics.get("step", curve_of(record)[-1].step))


def _stops(record: Record, step: int) -> bool:
    """A frozen run ends at the chosen step; where the choice was to do nothing, any run's start
    will do.
    """
    return step == 0 or (
        record.trial.game.params.get("stop_at") == step and curve_of(record)[-1].step >= step
    )


def _judge(
    records: Sequence[Record], split: str, winner: Winner, attack: str = ""
) -> HeldOutResult:
    def asr(point: Point) -> float:
        return point.extra[OF_ATTACK + attack] if attack else point.asr

    given = [curve_of(r) for r in records]
    mean = [mean_curve(given)] if split == "report" else given  # before the worst of its kinds
    curves = [seen_by(winner.rule, c, records[0].trial.game.name, records) for c in mean]
    ends = [c[0] if winner.step == 0 else c[-1] for c in curves]
    n = len(curves)
    eta, cda = sum(map(asr, ends)) / n, sum(p.cda for p in ends) / n
    own = split == "report" and counts(records)
    counted = f"n_triggered/{attack}" if attack else "n_triggered"
    if own and winner.rule in OWN_RULES and all(left_of(p, 0.0) >= p.asr for p in ends):
        counted = "n_reconstructed"
    n_triggered, n_clean = least(records, counted), least(records, "n_clean")
    return HeldOutResult(
        split=split,
        victim=records[0].trial.victim,
        step=winner.step,
        eta=eta,
        cda=cda,
        asr0=sum(asr(c[0]) for c in curves) / n,
        cda0=sum(c[0].cda for c in curves) / n,
        interval=wilson(eta, n_triggered) if n_triggered else None,
        cda_interval=wilson(cda, n_clean) if n_clean else None,
        n_triggered=n_triggered,
        n_planted=least(records, "n_triggered"),
        n_clean=n_clean,
        n_seeds=len(records),
        sd=mean_sd([asr(p) for p in ends])[1] if attack else spread(records, ends[0].step),
        delta=winner.delta,
        attack=attack,
        kinds=kinds_of(ends[0]) if split == "report" else {},
        kinds0=kinds_of(curves[0][0]) if split == "report" else {},
        retuned=_mean(records, "retuned_asr"),
        path_share=_mean(records, "path_share"),
        reconstructed=fmean(left_of(p, p.asr) for p in ends) if own else None,
        reconstructed0=fmean(left_of(c[0], c[0].asr) for c in curves) if own else None,
        reconstructed_form=form(records) if own else "",
    )


def _mean(records: Sequence[Record], metric: str) -> float | None:
    """None where a record has none."""
    found = [r.metrics[metric] for r in records if metric in r.metrics]
    return fmean(found) if len(found) == len(records) else None
