"""``filter`` with repairs: which filter and repair leave least of the defender's own poison, and
the last model repaired so.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from results.comparison.filtered_sets import DELTA
from results.report.own_pairs import sentences
from results.selection.filter_winner import FilterWinner
from results.selection.labels import percent
from results.selection.own_pairs import OwnPair, PairTaken
from sweep.planning import filtering
from sweep.planning.strategy import ListStrategy, Strategy
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.data_views import OwnPoison, own_rows_in
from trials.games._frozen import repaired
from trials.metrics import accuracy, success
from trials.runtime import TrialRuntime
from trials.types import DefenderView

FILTERS = 2  # whose models are repaired: the first of them, each in its best setting
REPAIRS = ("fst", "overlay_soup", "fine_tuning")
LIMIT = 2  # settings of each


class Repaired(NamedTuple):
    """What ``choice.json`` says of repairs, what is said of them, and the model; None where the
    last one stays as it was trained.
    """

    facts: dict[str, Any]
    said: list[str]
    model: nn.Module | None


def stages(sweep: Sweep, winners: Sequence[FilterWinner]) -> Iterator[list[Strategy]]:
    """The models of what the first filters keep of the set with the defender's poison, then their
    repairs.
    """
    first: dict[str, FilterWinner] = {}
    for winner in winners:
        given = winner.scored.trial.victim.filter
        assert given is not None
        first.setdefault(given.method.name, winner)
    victims = [w.scored.trial.victim for w in list(first.values())[:FILTERS]]
    alone = filtering.own_repairs(sweep, victims)
    yield [ListStrategy("models of kept rows and own poison", alone)]
    yield [ListStrategy(d.name, filtering.own_repairs(sweep, victims, d)) for d in sweep.defenses]


def repair_of(taken: PairTaken | None, trained: bool, runtime: TrialRuntime) -> Repaired:
    """The last model, repaired as the pair says.

    It is measured on the trusted images that were stamped: a model that is trained on no poisoned
    row has not seen them, and they choose no pair. They only decide whether the repair is applied.

    Args:
        taken: what the defender takes; None where no filter's model could be repaired.
        trained: whether there is a last model.
        runtime: whose artifacts hold it.
    """
    if taken is None:
        told = (
            "No repair is taken: the model of what the first filter keeps of own poison, with "
            "which repairs are compared, failed."
        )
        return Repaired({"applied": False}, [told], None)
    facts: dict[str, Any] = {"applied": False, "alone": _plain(taken.alone)}
    facts |= {"best": _plain(taken.best), "taken": _plain(taken.pair)}
    said, pair = sentences(taken), taken.pair
    if pair.repair is None or not trained:
        return Repaired(facts, said, None)
    trial, last = pair.record.trial, runtime.trained(pair.record.trial.victim)
    own = own_rows_in(trial, runtime)
    assert own is not None
    method = partial(catalog.find("defenses", pair.repair.name), **pair.repair.params)
    view = DefenderView(last, own.rows.probes.to(runtime.device))
    every, rng = int(trial.game.params["record_every"]), runtime.rng(trial)("repair", 0)
    try:
        model = repaired(method, view, rng, every, pair.point.step)
        of_all, was, now = (_measured(m, own, runtime) for m in (own.before(), last, model))
    except ArithmeticError as problem:
        said.append(f"On the last model this repair diverged, so it stays as trained: {problem}")
        return Repaired({**facts, "error": str(problem)}, said, None)
    lost = of_all["cda"] - now["cda"]
    facts["this_set"] = {
        "measured_on": "trusted images that were stamped, before they were",
        "n_clean": len(own.rows.stamped),
        "of_all_images": of_all,
        "of_what_is_kept": was,
        "repaired": now,
    }
    asr_was, asr_now = (max(m["own_asr"].values()) for m in (was, now))
    said.append(
        f"The last model gets {percent(was['cda'])} % of the {len(own.rows.stamped)} trusted "
        f"images right that were stamped, and {percent(now['cda'])} % once it is repaired; a "
        f"trigger of the defender's leads at most {percent(asr_was)} % of them to its target, then "
        f"{percent(asr_now)} %. None of these triggers is in its training, so that says nothing of "
        "what the repair removes."
    )
    if lost > max(DELTA, of_all["cda"] - was["cda"]) + 1e-9:
        said.append(
            f"Repaired it loses {percent(lost)} points to a model of all images, so it stays as it "
            "was trained."
        )
        return Repaired(facts, said, None)
    return Repaired({**facts, "applied": True}, said, model)


def _plain(pair: OwnPair) -> dict[str, Any]:
    filter_ = pair.record.trial.victim.filter
    assert filter_ is not None
    return {
        "filter": filter_.method.name,
        "filter_settings": dict(filter_.method.params),
        "repair": pair.repair.name if pair.repair else None,
        "settings": dict(pair.repair.params) if pair.repair else {},
        "stop_at": pair.point.step,
        "own_asr": pair.each,
        "own_asr_left": pair.point.asr,
        "cda": pair.point.cda,
        "cda_lost": pair.loss,
        "cda_loss_allowed": pair.allowed,
        "n_held": int(pair.record.metrics["n_held"]),
    }


def _measured(model: nn.Module, own: OwnPoison, runtime: TrialRuntime) -> dict[str, Any]:
    images = own.rows.stamped.to(runtime.device)
    goals = zip(own.rows.names, own.rows.goals, strict=True)
    rates = {name: success(model, goal.cases(images)) for name, goal in goals}
    return {"cda": accuracy(model, images), "own_asr": rates}
