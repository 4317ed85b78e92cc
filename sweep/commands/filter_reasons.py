"""Why ``filter`` removes an image, or keeps it for its class's sake, with its own score."""

import math
from collections.abc import Sequence

from results.selection.labels import percent
from trials.spec import BUDGET, MIXTURE, OWN, RECALL, Filtering

_SET_BY = {
    RECALL: "the threshold set by the defender's own poison",
    BUDGET: "the threshold after which the least of the defender's own poison is left",
    MIXTURE: "the threshold between two normal distributions",
}


def reasons(
    scores: Sequence[float], labels: Sequence[int], kept: Sequence[bool], filtering: Filtering
) -> list[str]:
    """A sentence for each image; none where it is kept and scores below all that are removed.

    Args:
        scores: of the images, higher is more suspicious.
        labels: their classes.
        kept: whether each is.
        filtering: the filter and its rule. Where it ranks each class apart (a quota ``within``),
            the threshold is that of the class.
    """
    apart = filtering.threshold.get("quota") == "within"
    groups = list(labels) if apart else [0] * len(labels)
    least: dict[int, float] = {}
    for score, group, is_kept in zip(scores, groups, kept, strict=True):
        if not is_kept:
            least[group] = min(score, least.get(group, math.inf))
    rows = zip(scores, groups, kept, strict=True)
    return [_reason(s, least.get(g, math.inf), k, filtering, apart) for s, g, k in rows]


def _reason(score: float, least: float, is_kept: bool, filtering: Filtering, apart: bool) -> str:
    reject, of = filtering.reject, " of its class" if apart else ""
    if reject == OWN:
        return "" if is_kept else f"the filter's own rule suspects it (score {score:.6g})"
    if is_kept:
        above = f"{score:.6g} is above {least:.6g}{of}, but enough of its class is removed"
        return above if score > least else ""
    share = "" if isinstance(reject, str) else f"the threshold of {percent(reject)} % of all images"
    return f"{score:.6g} is at least {least:.6g}, {_SET_BY.get(str(reject), share)}{of}"
