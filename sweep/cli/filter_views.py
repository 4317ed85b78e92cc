"""The best data filters of a sweep, for people and programs."""

import json
from collections.abc import Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from results.comparison.filtered_sets import DELTA, FilteredSet, bests
from results.comparison.filters_and_repairs import Treatments, treatments
from results.comparison.own_poison import validities
from results.report.filters import of_defender
from results.report.filters_and_repairs import sentences
from results.selection.filter_winner import filter_winners
from results.selection.labels import rejection
from sweep.console.grid import Grid
from sweep.console.terminal import Plain
from trials.spec import Record, SpecError


def best(sets: Sequence[FilteredSet], as_json: bool, records: Sequence[Record] = ()) -> None:
    """Each filter's setting and rejection, the one that leaves least first.

    Raises SpecError where none was trained on yet.
    """
    trained = [s for s in sets if s.trained]
    if not trained:
        raise SpecError(
            "no model is trained on what a filter keeps yet: run the sweep first ('poisonsweep "
            "status' shows how far it is)."
        )
    tops = {id(s) for s in bests(trained)}
    beside = [one for one in treatments(records) if one.of("repair", "pair")]
    if as_json:
        told = [{**_plain(s), "overall": id(s) in tops} for s in trained]
        print(json.dumps([*told, *chain.from_iterable(map(_repaired, beside))], indent=1))
        return
    console = Plain()
    console.print(
        "ASR and CDA on the test set, of models trained on what each filter keeps. Chosen with the "
        f"real attacks, which no defender sees; those that cost at most {DELTA:.0%} first.",
        highlight=False,
    )
    heads = ("filter", "rejects", "removed", "AUROC", "max ASR", "mean ASR", "CDA", "loss", "seeds")
    table = Grid(*heads, words={"filter", "rejects"})
    for s in trained:
        mark = "* " if id(s) in tops else "  "
        area = s.score("auroc")
        left = (f"{max(s.asrs):.1%}", f"{fmean(s.asrs):.1%}") if s.asrs else ("–", "–")
        row = (
            _percent(s.score("removed")),
            "–" if area is None else f"{area:.3f}",
            *left,
            _percent(s.after("cda")),
            _percent(s.cda_loss, "+"),
            len(s.trained),
        )
        table.add(mark + s.filtering.method.name, rejection(s.filtering), *row)
    console.print(table)
    for line in (*sentences(beside), *defenders(records)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print("All settings: --json. Each attack and class: poisonsweep report.")


def defenders(records: Sequence[Record]) -> list[str]:
    """What a defender takes by poison of their own, and whether that stands for others' poison; no
    line where none was planted.
    """
    picked = next(iter(filter_winners(records)), None)
    if picked is None:
        return []
    lines = [of_defender(picked)]
    for v in validities(records):
        holds = {True: "holds", False: "fails", None: "not tested"}[v.holds]
        lines.append(f"({v.test}) {v.filter}: {v.what}: {v.value:.3g}, needed {v.needed}: {holds}.")
    return lines


def _repaired(found: Treatments) -> list[dict[str, Any]]:
    """Repairs alone and pairs, the one that leaves least first, as means over victims."""
    front = {id(t) for t in found.front}
    return [
        {
            "filter": t.filter_name,
            "settings": dict(t.filtering.method.params) if t.filtering else {},
            "reject": t.filtering.reject if t.filtering else None,
            "repair": t.defense.name,
            "repair_settings": dict(t.defense.params),
            "trusted": found.trusted,
            "victims": len(t.outcomes),
            "removed": t.removed,
            "max_asr": t.asr,
            "mean_asr": t.mean_asr,
            "cda": t.cda,
            "cda_loss": t.loss,
            "within_delta": t.within_delta,
            "seeds": t.seeds,
            "failed": t.failed,
            "front": id(t) in front,
            "overall": t is found.best(t.kind),
        }
        for t in found.found
        if t.defense
    ]


def _percent(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.1%}"


def _plain(s: FilteredSet) -> dict[str, Any]:
    method = s.filtering.method
    return {
        "filter": method.name,
        "settings": dict(method.params),
        "reject": s.reject,
        "trusted": s.filtering.trusted,
        "victim": s.victim.id,
        "auroc": s.score("auroc"),
        "removed": s.score("removed"),
        "removed_poisoned": s.score("removed_poisoned"),
        "kept_min": s.score("kept_min"),
        "max_asr": max(s.asrs, default=None),
        "mean_asr": fmean(s.asrs) if s.asrs else None,
        "asr": {attack: s.asr(attack) for attack in s.attacks},
        "cda": s.after("cda"),
        "cda_loss": s.cda_loss,
        "within_delta": s.within_delta,
        "seeds": len(s.trained),
        "failed": s.failed,
    }
