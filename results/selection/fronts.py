"""The Pareto front of each defense: the points that no other point beats in both ASR and CDA."""

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from results.selection.configurations import SelectionTask, configurations
from results.selection.task_names import names, natural
from results.stats.pareto import nondominated
from trials.spec import Record

Row = dict[str, Any]


def fronts_of(records: Sequence[Record]) -> dict[str, list[Row]]:
    """The non-dominated points of each defense, over all configurations' mean curves.

    Points are compared within one task: one victim, one share of trusted images, and copies that
    were poisoned alike. Each has ``asr``, ``cda``, ``step``, ``task`` (its name, empty where there
    is one), ``victim`` (its id), ``trusted`` and ``settings``; by task's name, then ASR.
    """
    finished = [c for c in configurations(list(records)) if c.records]
    named = names({c.task: c.records[0].trial for c in finished})
    points: dict[str, dict[SelectionTask, list[Row]]] = {}
    for c in finished:
        at = {
            "task": named[c.task],
            "victim": c.victim.id,
            "trusted": c.task.trusted,
            "settings": dict(c.method.params),
        }
        found = points.setdefault(c.method.name, {}).setdefault(c.task, [])
        found += [{"asr": p.asr, "cda": p.cda, "step": p.step, **at} for p in c.curve]

    def fronts(groups: dict[SelectionTask, list[Row]]) -> list[Row]:
        ordered = sorted(groups, key=lambda task: natural(named[task]))
        return list(chain.from_iterable(_front(groups[task]) for task in ordered))

    return {name: fronts(groups) for name, groups in points.items()}


def _front(points: list[Row]) -> list[Row]:
    keep = nondominated([[p["asr"], p["cda"]] for p in points])
    kept = [point for point, is_kept in zip(points, keep, strict=True) if is_kept]
    return sorted(kept, key=itemgetter("asr"))
