"""What each victim is left with, by one blind choice and by each defense at its best."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

from results.selection.configurations import of_game
from results.selection.confirmation import HeldOutResult, on_clean
from results.selection.forecast import scheme_of
from results.selection.labels import attack, settings
from results.selection.rules import SLACK, WORST_RULE, curve_of
from results.selection.trigger_kinds import real_asr
from results.selection.winners import REPAIRED, Winner, overall, winners
from results.stats.intervals import Interval
from trials.spec import Point, Record, SpecError

LEARNED, KNOWS = 0.8, 0.05  # ASR from which a victim counts; CDA that it may lack of a clean one's
BLIND = "blind choice"
BEST = "best of all, by the true trigger"
JUDGES = ("training", "robustness")  # games that no defender pays for


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What one victim is left with, by one way of choosing; fractions.

    Attributes:
        scheme: how the copies were poisoned; empty where the true trigger chose.
        chooser: ``blind choice``; or the defense, or all of them, whose best is taken with the
            true trigger.
        tried: settings that were chosen among.
        seconds: that the trials took: of the blind choice its copies and all of its tuning, else
            the true runs of those settings.
        cda_clean: of the clean twin; None where the stores have none.
        promised: what the rule saw left; None where the true trigger chose. ``reconstructed`` is of
            the trigger that was reconstructed from the model, where that counts.
        low, high: where the real ASR was forecast to lie (90 %), from other victims' pairs; None
            where the true trigger chose, or too few pairs are known.
        cda_loss_seen: the cost that the choice was made by.
        eta, cda_loss: of the true attack, on the test set, at ``step``; where that run was ended
            before it, because it cost too much for several points in a row, at its last point.
        cda_loss_clean: of the clean twin; None where the choice did not run on it.
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
    tried: int
    seconds: float
    defense: str
    settings: str
    step: int
    promised: float | None
    reconstructed: float | None
    low: float | None
    high: float | None
    cda_loss_seen: float
    eta: float
    cda_loss: float
    cda_loss_clean: float | None
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
        SpecError: a victim has several choices, as sweeps of other settings were made of it; or no
            run on the true attack of what was chosen.
    """
    sweep = _Runs(records)
    known = [w for w in winners(records, rule) if w.victim.id in sweep.trained]
    seen = [w for w in known if w.victim.attacks]
    best = [w for w in winners(records, "oracle") if w.victim.id in sweep.trained]
    blind, best_of_all = _one_each(seen), _one_each(best)
    found = [sweep.repair(w, BLIND, _tried(seen, w)) for w in blind]
    found += [sweep.repair(w, BEST, _tried(best, w)) for w in best_of_all]
    return found + [sweep.repair(w, w.defense, w.tried) for w in best]


def _one_each(found: Sequence[Winner]) -> list[Winner]:
    """The best of each victim and share of trusted images."""
    top = overall(found)
    times = Counter((w.victim.id, w.trusted) for w in top)
    if several := sum(n > 1 for n in times.values()):
        raise SpecError(
            f"{several} victims have several choices, as sweeps of other settings were made "
            "of them: name the sweeps that are wanted by --sweep."
        )
    return top


def _tried(found: Sequence[Winner], of: Winner) -> int:
    return sum(w.tried for w in found if w.task == of.task)


class _Runs:
    """What is stored of the victims, and of the runs on the true attack."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        training = [r for r in records if r.trial.game.name == "training" and r.status == "done"]
        self.trained = {r.trial.victim.id: r.metrics for r in training}
        clean = [v for r in training if not ((v := r.trial.victim).attacks or v.filter)]
        self._clean = {(v.kin, v.seed): self.trained[v.id]["cda"] for v in clean}
        self._whole: dict[tuple[str, float, str], list[Record]] = defaultdict(list)
        for r in of_game(records, "robustness"):
            if r.status == "done" and r.trial.method and not r.trial.game.params.get("stop_at"):
                self._whole[r.trial.victim.id, r.trial.trusted, r.trial.method.id].append(r)

    def repair(self, w: Winner, chooser: str, tried: int) -> Repair:
        runs = self._whole[w.victim.id, w.trusted, w.method.id]
        if not runs:
            raise SpecError(
                f"{attack(w.victim)}, seed {w.victim.seed}: {w.defense} was chosen and never ran "
                "on the true attack to its end: write judge_all = true, and run the sweep."
            )
        before, after = _until(runs, 0), _until(runs, w.step)
        metrics, blind = self.trained[w.victim.id], chooser == BLIND
        told, clean = self._forecast(w, blind), self._on_twin(w) if blind else None
        return Repair(
            victim=w.victim.id,
            attack=attack(w.victim),
            victim_seed=w.victim.seed,
            trusted=w.trusted,
            cda=metrics["cda"],
            cda_clean=self._clean.get((w.victim.kin, w.victim.seed)),
            asr=metrics["asr"],
            scheme=scheme_of(w.trial.self_poisoning.params) if w.trial.self_poisoning else "",
            rule=w.rule,
            chooser=chooser,
            tried=tried,
            seconds=self._seconds(w, chooser),
            defense=w.defense,
            settings=settings(w.method),
            step=w.step,
            promised=w.eta if blind else None,
            reconstructed=w.reconstructed if blind else None,
            low=told.low if told else None,
            high=told.high if told else None,
            cda_loss_seen=w.cda_loss,
            eta=after.asr,
            cda_loss=before.cda - after.cda,
            cda_loss_clean=clean.cda_loss if clean else None,
            delta=w.delta,
            n=int(runs[0].metrics.get("n_triggered", 0)),
        )

    def _forecast(self, w: Winner, blind: bool) -> Interval | None:
        told = real_asr(w, w) if blind else None
        return told.interval if told else None

    def _on_twin(self, w: Winner) -> HeldOutResult | None:
        """The choice on the clean model of the victim's seed."""
        twin = [r for r in self.records if r.trial.victim.seed == w.victim.seed]
        return on_clean(w, twin)

    def _seconds(self, w: Winner, chooser: str) -> float:
        if chooser == BLIND:
            mine = [r for r in self.records if r.trial.victim.id == w.victim.id]
            some = [r for r in mine if r.trial.trusted == w.trusted]
            return sum(r.seconds for r in some if r.trial.game.name not in JUDGES)
        whole = chain.from_iterable(self._whole.values())
        return sum(r.seconds for r in whole if _is_of(r, w, chooser))


def _is_of(r: Record, w: Winner, chooser: str) -> bool:
    """Whether it is a run on this victim, by that defense where one chooses."""
    mine = (r.trial.victim.id, r.trial.trusted) == (w.victim.id, w.trusted)
    return mine and r.trial.method is not None and chooser in (BEST, r.trial.method.name)


def _until(runs: Sequence[Record], step: int) -> Point:
    """The mean over runs at that step, or at the last before it that a run has."""
    points = [max(curve_of(r), key=lambda p: (p.step <= step, p.step)) for r in runs]
    return Point(points[0].step, fmean(p.cda for p in points), fmean(p.asr for p in points))
