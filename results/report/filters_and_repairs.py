"""The page's part on filters beside repairs: what each leaves of attacks, alone and together."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from results.comparison.filtered_sets import DELTA
from results.comparison.filters_and_repairs import WORST, Kind, Treatment, Treatments
from results.figures.filters_and_repairs import drawn
from results.report.evidence import Chart, chart
from results.selection.labels import attack, percent
from results.tables._filters import called

MOST = 6  # questions that are spoken of and drawn; the table has all


def sentences(found: Sequence[Treatments]) -> list[str]:
    """Of each question that has repairs, the best filter, repair and pair."""
    repaired = (one for one in found[:MOST] if one.of("repair", "pair"))
    return list(chain.from_iterable(map(of_question, repaired)))


def of_question(found: Treatments) -> Iterator[str]:
    """What is left before anything is done, and the best filter, repair and pair by the judge's
    order.
    """
    (untreated,) = found.of("nothing")
    named = f"{found.victim.dataset.name}, {found.victim.model.name}, {attack(found.victim)}"
    mean = f", mean of {found.victims} victims" if found.victims > 1 else ""
    yield (
        f"{named}{mean}: {percent(untreated.asr)} % ASR and {percent(untreated.cda)} % CDA before "
        "anything is done."
    )
    alone = [best for kind in _ALONE if (best := found.best(kind))]
    for best in alone:
        yield f"The {_ALONE[best.kind]}, by the judge's order, is {_of(best)}."
    if best := found.best("pair"):
        yield f"The best pair, by the judge's order, is {_of(best)}{_beside(best, alone)}."


_ALONE: Mapping[Kind, str] = {"filter": "best filter", "repair": "best repair without a filter"}


def _of(t: Treatment) -> str:
    removed = f", {percent(t.removed)} % of the rows removed" if t.filtering else ""
    costly = "" if t.within_delta else f" (none costs at most {percent(DELTA, 0)})"
    return (
        f"{called(t)}: at most {percent(t.asr)} % ASR of any attack left, "
        f"{percent(t.loss)} points of CDA lost{costly}{removed}"
    )


def _beside(pair: Treatment, alone: Sequence[Treatment]) -> str:
    """What the pair is better in than the better of the filter and the repair alone."""
    rival = min(alone, key=lambda t: t.rank, default=None)
    if rival is None:
        return ""
    name = f"{called(rival)} alone"
    if pair.rank >= rival.rank:
        return f"; no better than {name}"
    if pair.within_delta and not rival.within_delta:
        return f"; {name} costs more than {percent(DELTA, 0)} points"
    if percent(rival.asr - pair.asr) == percent(0.0):
        return f"; it leaves as much as {name}, at {'more' if pair.cda > rival.cda else 'less'} CDA"
    less = [max(pair.outcomes[v].asrs) < max(o.asrs) for v, o in rival.outcomes.items()]
    told = f", on {sum(less)} of {len(less)} victims" if len(less) > 1 else ""
    return f"; {percent(rival.asr - pair.asr)} points of ASR less than {name}{told}"


def charts(found: Sequence[Treatments]) -> list[Chart]:
    """The plane of each question that has several treatments."""
    made = []
    for i, one in enumerate(found[:MOST]):
        title = f"Filters and repairs: {attack(one.victim)}, r = {percent(one.trusted)} %"
        made.append(chart(drawn(one), f"filters-plane-{i}", title, _NOTE))
    return [c for c in made if c]


VOLUMES = (
    "Of the largest ASR, the CDA lost and the share of rows removed, from {} % ASR, {} points lost "
    "and {} % of the rows on: 1 is best, 0 is no better than that."
).format(*(percent(worst, 0) for worst in WORST))
_NOTE = (
    "Better is up and to the left. A colour is a filter, grey none; a mark is the repair that "
    "followed, a circle none. The stepped lines are what filters alone reach, and what all reach; "
    "they do not see the share of rows removed, which pointing at a mark tells. Rings are the best "
    "filter and the best pair by the judge's order. Repairs stop where a defender would: at the "
    "last point before the accuracy on held-out trusted images falls by Δ."
)
