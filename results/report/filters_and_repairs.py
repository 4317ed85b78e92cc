"""The page's part on filters beside repairs: what each leaves of attacks, alone and together."""

from collections.abc import Sequence

from results.comparison.filters_and_repairs import WORST, Treatment, Treatments, volume
from results.figures.filters_and_repairs import drawn
from results.report.evidence import Chart, chart
from results.selection.labels import attack, percent
from results.tables._filters import called

MOST = 6  # charts and sentences; the table has all


def sentences(found: Sequence[Treatments]) -> list[str]:
    """Of each question that has repairs, the best filter, repair and pair."""
    return [sentence(one) for one in found[:MOST] if one.of("repair", "pair")]


def sentence(found: Treatments) -> str:
    """The best filter, the best repair and the best pair by the judge's order, and what a pair adds
    to a filter.
    """
    (untreated,) = found.of("nothing")
    number = len(found.of("filter", "repair", "pair"))
    victims = f", mean of {found.victims} victims" if found.victims > 1 else ""
    told = [
        f"{found.victim.dataset.name}, {found.victim.model.name}, {attack(found.victim)}{victims}: "
        f"by the judge's order of {number} treatments, which no defender can see"
    ]
    if best := found.best("filter"):
        told.append(f"the best filter is {_of(best)}")
    if best := found.best("repair"):
        told.append(f"the best repair without a filter is {_of(best)}")
    if best := found.best("pair"):
        told.append(f"the best pair is {_of(best)}{_beside(best, found.best('filter'))}")
    before = f"Before any of it {percent(untreated.asr)} % ASR, {percent(untreated.cda)} % CDA."
    return f"{told[0]}, {'; '.join(told[1:])}. {before} {volumes(found)}"


def _of(t: Treatment) -> str:
    removed = f", {percent(t.removed)} % of the rows removed" if t.filtering else ""
    costly = "" if t.within_delta else ", and none of its kind costs at most 2"
    return (
        f"{called(t)} (at most {percent(t.asr)} % ASR of any attack, {percent(t.loss)} points of "
        f"CDA lost{costly}{removed})"
    )


def _beside(pair: Treatment, alone: Treatment | None) -> str:
    """On how many victims the pair leaves less than the best filter alone."""
    if alone is None:
        return ""
    less = [max(pair.outcomes[v].asrs) < max(o.asrs) for v, o in alone.outcomes.items()]
    told = f"on {sum(less)} of {len(less)} victims" if len(less) > 1 else ""
    if pair.rank >= alone.rank:
        return ", no better than that filter alone"
    if pair.asr >= alone.asr:
        return ", which leaves no less than that filter alone, but costs less"
    return f", {percent(alone.asr - pair.asr)} points of ASR less than that filter alone {told}"


def volumes(found: Treatments) -> str:
    """How much of ASR x CDA lost x rows removed lies behind filters, repairs and all of them."""
    untreated = found.of("nothing")
    asr, loss, removed = (percent(value, 0) for value in WORST)
    parts = [
        f"{volume([*untreated, *found.of('filter')]):.2f} of filters alone",
        f"{volume([*untreated, *found.of('repair')]):.2f} of repairs alone",
        f"{volume([*untreated, *found.of('filter', 'repair', 'pair')]):.2f} with pairs",
    ]
    return (
        f"Hypervolume, 1 at best, from {asr} % ASR, {loss} points of CDA lost and {removed} % of "
        f"the rows removed on: {', '.join(parts)}."
    )


def charts(found: Sequence[Treatments]) -> list[Chart]:
    """The plane of each question that has several treatments."""
    made = []
    for i, one in enumerate(found[:MOST]):
        title = f"Filters and repairs: {attack(one.victim)}, r = {percent(one.trusted)} %"
        made.append(chart(drawn(one), f"filters-plane-{i}", title, _NOTE))
    return [c for c in made if c]


_NOTE = (
    "Better is up and to the left. A colour is a filter, grey none; a mark is the repair that "
    "followed, a circle none. The stepped lines are what filters alone reach, and what all reach; "
    "they do not see the share of rows removed, which pointing at a mark tells. Rings are the best "
    "filter and the best pair by the judge's order. Repairs stop where a defender would: at the "
    "last point before the accuracy on held-out trusted images falls by Δ."
)
