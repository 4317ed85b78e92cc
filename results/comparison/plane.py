"""The plane: each attack by η, the ASR left after a defense, and ρ, its detectability.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-E and figure 7.
Deviation: uncertainty is carried through: models are resampled, the same way for every attack,
defense and detector that share them. ρ below 0.5 is noise, and is kept as it is.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from itertools import product

import numpy as np

from results.comparison.detectability import detections
from results.comparison.detector_scores import Detection, resampled
from results.comparison.residual_asr import ResidualAsr, residual_asrs
from results.selection.disambiguation import labels
from results.selection.grouping import AttackConfig, Channel, budget, channel, names
from results.stats import roc
from results.stats.intervals import Interval
from trials.spec import Record, Victim


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One attack in one plane; ``etas`` and ``rhos`` are its resamples (draws,)."""

    name: str
    channel: Channel
    left: ResidualAsr
    found: Detection
    eta: float
    rho: float
    etas: roc.Floats
    rhos: roc.Floats

    @property
    def attack_config(self) -> AttackConfig:
        return self.left.attack_config

    @property
    def victim(self) -> Victim:
        return self.left.victim

    @property
    def m(self) -> int | None:
        return budget(self.victim)

    @property
    def alone(self) -> bool:
        """A single victim or model on a side: resampling it gives itself, which is no certainty."""
        return min(len(self.left.eta), *map(len, self.found.sides)) < 2

    @property
    def asr0(self) -> float:
        """ASR before the defense."""
        return float(np.mean(list(self.left.asr0.values())))

    @property
    def eta_interval(self) -> Interval | None:
        """95 %, over victims; None for a single one."""
        return roc.quantiles(self.etas) if len(self.left.eta) > 1 else None

    @property
    def rho_interval(self) -> Interval | None:
        """95 %, over models; None below two a side."""
        sides = self.found.sides
        return None if min(map(len, sides)) < 2 else roc.settled(self.rhos, roc.wins(*sides))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """All attacks of one benchmark and r under one defense and one detector."""

    victim: Victim  # of one of them: dataset, model, training
    trusted: float  # r
    defense: str
    detector: str
    rule: str
    marks: tuple[Mark, ...]
    # by attack: rows that count for nothing, and whether it is missing because of them
    refusals: tuple[str, ...]

    @property
    def benchmark(self) -> tuple[str, float]:
        return self.marks[0].attack_config.benchmark, self.trusted

    def of(self, channel: Channel | None) -> tuple[Mark, ...]:
        """The attacks of a channel; all of them for None."""
        return tuple(m for m in self.marks if channel in (None, m.channel))


def planes(
    records: Iterable[Record],
    rule: str | None = None,
    draws: int = roc.DRAWS,
    seed: int = 0,
    channels: Mapping[str, Channel] | None = None,
) -> list[Plane]:
    """A plane for every defense with every detector that met a common attack, at the same r.

    Args:
        records: of robustness and detectability; others are passed over.
        rule: as for ``residual_asrs``.
        draws: resamples of models.
        seed: of the resamples.
        channels: by attack's name, where the catalog does not know it.

    Raises:
        SpecError: unknown rule.
    """
    records = list(records)
    left, found = residual_asrs(records, rule), detections(records)
    called = names([*(x.victim for x in left), *(d.victim for d in found)])
    made = []
    for benchmark in sorted({_benchmark_of(x) for x in left} & {_benchmark_of(d) for d in found}):
        defenses = labels(
            [x for x in left if _benchmark_of(x) == benchmark], lambda x: (x.defense,)
        )
        detectors = labels(
            [d for d in found if _benchmark_of(d) == benchmark], lambda d: (d.detector, d.method)
        )
        for (defense, xs), (detector, ds) in product(defenses.items(), detectors.items()):
            repaired, inspected = {x.attack_config: x for x in xs}, {d.attack_config: d for d in ds}
            pairs = [(x, inspected[s]) for s, x in repaired.items() if s in inspected]
            marks = [
                _mark(x, d, called[x.attack_config], channel(x.victim, channels), draws, seed)
                for x, d in pairs
                if x.eta and d.rho is not None
            ]
            if not marks:
                continue
            made.append(
                Plane(
                    victim=marks[0].victim,
                    trusted=benchmark[1],
                    defense=defense,
                    detector=detector,
                    rule=xs[0].rule,
                    marks=tuple(
                        sorted(marks, key=lambda m: (m.victim.attacks[0].name, m.m or 0, m.name))
                    ),
                    refusals=_refusals(
                        repaired, inspected, {m.attack_config for m in marks}, called
                    ),
                )
            )
    return made


def _benchmark_of(row: ResidualAsr | Detection) -> tuple[str, float]:
    return row.attack_config.benchmark, row.trusted


def _refusals(
    repaired: Mapping[AttackConfig, ResidualAsr],
    inspected: Mapping[AttackConfig, Detection],
    drawn: Set[AttackConfig],
    called: Mapping[AttackConfig, str],
) -> tuple[str, ...]:
    """One clause for each attack that is not in the plane, or that has refused or failed rows."""
    said = []
    for s in sorted(repaired.keys() | inspected.keys(), key=lambda s: called[s]):
        x, d = repaired.get(s), inspected.get(s)
        rows = [row for row in (x, d) if row is not None]
        refused = sum(row.refused for row in rows)
        failed = sum(row.failed for row in rows)
        gone = [] if s in drawn else [_why(x, d)]
        gone += [f"{refused} measurements refused, not finite or incomplete"] if refused else []
        gone += [f"{failed} trials failed"] if failed else []
        said += [f"{called[s]}: {', '.join(gone)}"] if gone else []
    return tuple(said)


def _why(x: ResidualAsr | None, d: Detection | None) -> str:
    if x is None or not x.eta:
        return "not in the plane, as no η was measured"
    if d is None or not d.poisoned:
        return "not in the plane, as no detector's score was measured"
    return "not in the plane, as no clean model was scored"


def _mark(x: ResidualAsr, d: Detection, name: str, kind: Channel, draws: int, seed: int) -> Mark:
    left = np.array([x.eta[k] for k in sorted(x.eta)])
    return Mark(
        name=name,
        channel=kind,
        left=x,
        found=d,
        eta=float(left.mean()),
        rho=roc.auc(*d.sides),
        etas=resampled(x.eta, draws, seed) @ left / len(left),
        rhos=d.draws(draws, seed),
    )
