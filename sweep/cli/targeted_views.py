"""Attacks without a trigger of a sweep, for people and programs."""

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any

from results.comparison.self_brewed import self_brewed
from results.comparison.targeted_names import names
from results.comparison.targeted_success import TargetedSuccess, alike, on_front
from results.report.targeted import of_defenders
from results.selection.grouping import KEY
from results.selection.labels import short
from results.stats.intervals import Interval
from sweep.console.grid import Grid
from sweep.console.terminal import Plain
from trials.spec import Record, SpecError


def best(found: Sequence[TargetedSuccess], as_json: bool, records: Sequence[Record] = ()) -> None:
    """Each attack, the one that misleads most first, and what defenders choose by brewing against
    themselves.

    Raises SpecError where none was measured yet.
    """
    measured = _measured(found)
    if as_json:
        print(json.dumps([_plain(t) for t in measured], indent=1))
        return
    console = Plain()
    _print(console, measured, measured)
    for one in self_brewed(records):
        console.print(of_defenders(one), markup=False, highlight=False, soft_wrap=True)
    console.print("All settings: --json. The whole table: poisonsweep report.", highlight=False)


def front(found: Sequence[TargetedSuccess], as_json: bool) -> None:
    """The recipes and filters that no other beats against one attack: with as little success and as
    much CDA.

    Raises SpecError where none was measured yet.
    """
    measured = _measured(found)
    unbeaten = set(map(id, chain.from_iterable(map(on_front, alike(measured)))))
    best_of = [t for t in measured if id(t) in unbeaten]
    if as_json:
        print(json.dumps([_plain(t) for t in best_of], indent=1))
        return
    console = Plain()
    _print(console, best_of, measured)
    console.print("All settings: --json. The rest: poisonsweep best.", highlight=False)


def _measured(found: Sequence[TargetedSuccess]) -> list[TargetedSuccess]:
    measured = [t for t in found if t.records]
    if not measured:
        raise SpecError(
            "no victim of an attack without a trigger is measured yet: run the sweep first "
            "('poisonsweep status' shows how far it is)."
        )
    return measured


def _print(
    console: Plain, shown: Sequence[TargetedSuccess], among: Sequence[TargetedSuccess]
) -> None:
    """These, under the names that tell them from the others."""
    called = {id(t): list(name) for t, name in zip(among, names(among), strict=True)}
    words = ["attack", "training", "filter"]
    if not any(t.filtering for t in among):
        words.pop()
        called = {one: said[:-1] for one, said in called.items()}
    for kind in ("dataset", "model"):
        given = {id(t): short(f"{kind}s", getattr(t.victim, kind)) for t in among}
        if len(set(given.values())) > 1:
            words.append(kind)
            called = {one: [*said, given[one]] for one, said in called.items()}
    console.print(
        "Success: share of victims, trained anew, that give the targeted image the class wanted; "
        "intervals at 95 % over keys. Control: the same without poison. n: victims/keys.",
        highlight=False,
    )
    heads = ("success", "control", "n", "CDA", "loss")
    table = Grid(*words, *heads, words=set(words))
    for t in shown:
        table.add(
            *called[id(t)],
            f"{t.rate('success'):.0%} {_band(t.interval('success'))}",
            f"{t.rate('success_control'):.0%} {_band(t.interval('success_control'))}",
            f"{len(t.records)}/{t.keys}",
            f"{t.rate('cda'):.1%}",
            f"{t.cda_loss:+.1%}",
        )
    console.print(table)


def _band(interval: Interval) -> str:
    return f"[{100 * interval.low:.0f},{100 * interval.high:.0f}]"


def _plain(t: TargetedSuccess) -> dict[str, Any]:
    attacks = []
    for one in t.victim.attacks:
        shared = {k: v for k, v in one.params.items() if k not in KEY}
        attacks.append({"name": one.name, "settings": shared})
    return {
        "attacks": attacks,
        "dataset": t.victim.dataset.name,
        "model": t.victim.model.name,
        "training": {"name": t.victim.training.name, **t.victim.training.params},
        "filter": t.filtering.identity() if t.filtering else None,
        "removed_poisoned": t.removed("poisoned"),
        "removed_clean": t.removed("clean"),
        "success": t.rate("success"),
        "interval": t.interval("success")._asdict(),
        "success_control": t.rate("success_control"),
        "interval_control": t.interval("success_control")._asdict(),
        "apart": t.apart,
        "keys": t.keys,
        "victims": len(t.records),
        "failed": t.failed,
        "cda": t.rate("cda"),
        "cda_loss": t.cda_loss,
    }
