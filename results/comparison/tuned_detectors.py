"""The settings of a detector that find the targets of self-poisoned copies most surely."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from results.selection.configurations import of_game
from trials.spec import MethodConfig, Record, content_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedDetector:
    """One detector with one configuration; ``auc`` is the mean over seeds and copies."""

    victim: str  # Victim.id
    trusted: float
    repair: MethodConfig | None  # whose repaired model it compared with
    detector: MethodConfig
    auc: float  # share of a copy's other classes that score below the planted target
    margin: float  # target's score less the highest other, in the detector's unit
    n_copies: int
    n_seeds: int
    failed: int


def tuned_detectors(records: Iterable[Record]) -> list[TunedDetector]:
    """Every setting tried, the best of each detector first: highest AUC, then the larger margin;
    failed seeds last.
    """
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for r in of_game(records, "detector_tuning"):
        t = r.trial
        assert t.detector is not None
        parts = (t.detector.identity(), t.method.identity() if t.method else None)
        groups[t.victim.id, str(t.trusted), *map(content_id, parts)].append(r)
    found = []
    for group in groups.values():
        done = [r for r in group if r.status == "done"]
        if not done:
            continue
        t = done[0].trial
        assert t.detector is not None
        found.append(
            TunedDetector(
                victim=t.victim.id,
                trusted=t.trusted,
                repair=t.method,
                detector=t.detector,
                auc=fmean(r.metrics["auc"] for r in done),
                margin=fmean(r.metrics["margin"] for r in done),
                n_copies=int(sum(r.metrics["copies"] for r in done)),
                n_seeds=len(done),
                failed=len(group) - len(done),
            )
        )
    return sorted(
        found, key=lambda d: (d.victim, d.trusted, d.detector.name, d.failed > 0, -d.auc, -d.margin)
    )
