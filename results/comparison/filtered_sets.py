"""What data filters did to training sets: what their scores find, what was removed, and what the
model that was trained on the rest obeys.

Each filter's setting and rejection is one row; seeds of a filter on one victim are averaged. Beside
them stands the victim that was trained on all rows.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from results.selection.configurations import of_game, on_all_rows
from trials.spec import Filtering, Record, Victim, content_id

DELTA = 0.02  # clean accuracy that a filter may cost


@dataclass(frozen=True, slots=True, kw_only=True)
class FilteredSet:
    """One filter with one setting and rejection, on one victim's training set.

    Attributes:
        victim: as it was trained on all rows.
        filtering: the filter, one of its seeds.
        scored: finished trials that scored the set, one a seed.
        trained: finished trainings on what was kept, one a seed.
        before: the training on all rows; None where it has not finished.
        failed: trials of either kind that failed or were pruned.
    """

    victim: Victim
    filtering: Filtering
    scored: tuple[Record, ...]
    trained: tuple[Record, ...]
    before: Record | None
    failed: int

    @property
    def attacks(self) -> list[str]:
        """Names of the attacks of which rows were left to find."""
        keys = self.scored[0].metrics if self.scored else {}
        return [key.removeprefix("auroc/") for key in keys if key.startswith("auroc/")]

    @property
    def reject(self) -> float | str:
        return self.filtering.reject

    def score(self, metric: str) -> float | None:
        """Mean over seeds of what the judge says of the scores; None where a seed has none."""
        return _mean(self.scored, metric)

    def after(self, metric: str) -> float | None:
        """Mean over seeds of a metric of the models trained on what was kept."""
        return _mean(self.trained, metric)

    @property
    def cda_loss(self) -> float | None:
        """CDA lost, a fraction, to the training on all rows."""
        cda = self.after("cda")
        known = self.before.metrics.get("cda") if self.before else None
        return None if cda is None or known is None else known - cda

    def asr(self, attack: str) -> float | None:
        """ASR of one attack after the training on what was kept."""
        alone = len(self.victim.attacks) == 1
        return self.after("asr" if alone else f"asr/{attack}")

    def asr_before(self, attack: str) -> float | None:
        alone = len(self.victim.attacks) == 1
        return self.before.metrics.get("asr" if alone else f"asr/{attack}") if self.before else None

    @property
    def mean_before(self) -> float | None:
        """Mean ASR of the attacks after the training on all rows."""
        metrics = self.before.metrics if self.before else {}
        each = [v for k, v in metrics.items() if k.startswith("asr/")]
        return fmean(each) if each else metrics.get("asr")

    @property
    def asrs(self) -> list[float]:
        """The ASR of each attack, whether or not rows of it were left."""
        if len(self.victim.attacks) <= 1:
            found = [self.after("asr")]
        else:
            keys = self.trained[0].metrics if self.trained else {}
            found = [self.after(key) for key in keys if key.startswith("asr/")]
        return [value for value in found if value is not None]

    @property
    def kept(self) -> dict[int, float]:
        """Share of each class's clean rows that is kept."""
        keys = self.scored[0].metrics if self.scored else {}
        labels = sorted(int(k.removeprefix("kept/")) for k in keys if k.startswith("kept/"))
        shares = {label: self.score(f"kept/{label}") for label in labels}
        return {label: share for label, share in shares.items() if share is not None}

    @property
    def rank(self) -> tuple[bool, bool, float, float]:
        """Lower is better: trained at all, CDA within 2 points, the largest ASR, CDA."""
        cda, loss, left = self.after("cda"), self.cda_loss, self.asrs
        costly = loss is None or loss > DELTA + 1e-9
        return cda is None, costly, round(max(left, default=0.0), 12), -(cda or 0.0)

    @property
    def within_delta(self) -> bool:
        """The CDA on the test set stays within 2 points of the training on all rows."""
        return not self.rank[1]


def filtered_sets(records: Iterable[Record]) -> list[FilteredSet]:
    """Every filter, setting and rejection; by victim and r, the one that leaves least first."""
    records = list(records)
    before = {r.trial.victim.id: r for r in trained_on_all(records) if r.status == "done"}
    groups: dict[tuple[str, float, str], list[Record]] = defaultdict(list)
    for r in of_game(records, "filtering", "training"):
        if filtering := r.trial.victim.filter:
            plain = replace(r.trial.victim, filter=None)
            setting = content_id(replace(filtering, seed=0).identity())
            groups[plain.id, filtering.trusted, setting].append(r)
    found = [_set(group, before) for group in groups.values()]
    return sorted(found, key=lambda s: (s.victim.id, s.filtering.trusted, *s.rank, _name(s)))


def bests(sets: Sequence[FilteredSet]) -> list[FilteredSet]:
    """The best of each victim and r, of those that were trained again."""
    first: dict[tuple[str, float], FilteredSet] = {}
    for s in sets:
        if s.trained:
            first.setdefault((s.victim.id, s.filtering.trusted), s)
    return list(first.values())


def trained_on_all(records: Iterable[Record]) -> list[Record]:
    """The trainings of victims before any defense: of which no row was filtered."""
    return on_all_rows(of_game(records, "training"))


def _set(group: Sequence[Record], before: dict[str, Record]) -> FilteredSet:
    trial = group[0].trial
    assert trial.victim.filter is not None
    plain = replace(trial.victim, filter=None)
    done = sorted((r for r in group if r.status == "done"), key=_seed)
    return FilteredSet(
        victim=plain,
        filtering=trial.victim.filter,
        scored=tuple(r for r in done if r.trial.game.name == "filtering"),
        trained=tuple(r for r in done if r.trial.game.name == "training"),
        before=before.get(plain.id),
        failed=len(group) - len(done),
    )


def _seed(record: Record) -> int:
    filtering = record.trial.victim.filter
    return filtering.seed if filtering else 0


def _mean(records: Sequence[Record], metric: str) -> float | None:
    values = [r.metrics[metric] for r in records if metric in r.metrics]
    return fmean(values) if values and len(values) == len(records) else None


def _name(found: FilteredSet) -> tuple[str, str]:
    return found.filtering.method.name, str(found.reject)
