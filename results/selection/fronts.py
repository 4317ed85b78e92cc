"""The Pareto front of each defense: the points that no other point beats in both ASR and CDA."""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from results.selection.configurations import configurations
from results.stats.pareto import nondominated
from trials.spec import Record

Row = dict[str, Any]
_COMPARED = itemgetter("victim", "trusted")


def fronts_of(records: Sequence[Record]) -> dict[str, list[Row]]:
    """The non-dominated points of each defense, over all configurations' mean curves.

    Points are compared on one victim and one share of trusted images. Each has ``asr``, ``cda``,
    ``step``, ``victim`` (its id), ``trusted`` and ``settings``, in the order of the ASR.
    """
    points: dict[str, list[Row]] = {}
    for c in configurations(list(records)):
        at = {"victim": c.victim.id, "trusted": c.task.trusted, "settings": dict(c.method.params)}
        found = points.setdefault(c.method.name, [])
        found += [{"asr": p.asr, "cda": p.cda, "step": p.step, **at} for p in c.curve]
    return {name: list(_front(found)) for name, found in points.items()}


def _front(points: list[Row]) -> Iterator[Row]:
    """The front of each victim and share of trusted images, in the order in which these occur."""
    groups: dict[Any, list[Row]] = {}
    for point in points:
        groups.setdefault(_COMPARED(point), []).append(point)
    for group in groups.values():
        keep = nondominated([[p["asr"], p["cda"]] for p in group])
        kept = [point for point, is_kept in zip(group, keep, strict=True) if is_kept]
        yield from sorted(kept, key=itemgetter("asr"))
