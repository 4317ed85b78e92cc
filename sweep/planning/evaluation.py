"""What follows tuning: the best on the report images, winners on real attacks and on a model that
was never attacked, detectors on what they repaired.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from results.selection.trigger_kinds import costs_given
from results.selection.winners import Winner, overall, winners
from sweep.planning import expansion
from sweep.planning.detection import inspections
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.spec import MethodConfig, Record, Trial


def judged(sweep: Sweep, records: Sequence[Record], detected: Sequence[Record] = ()) -> list[Trial]:
    """The trials that follow tuning.

    Args:
        sweep: the sweep.
        records: its tuning records.
        detected: records of its detectors on self-poisoned copies; detectors with several settings
            need them.
    """
    ranked = winners(records, sweep.rule)
    best = overall(ranked) if sweep.confirm else []
    found = list(chain.from_iterable(confirmations(sweep, winner) for winner in best))
    for winner in ranked:
        for victim in expansion.meets(sweep, winner.victim):
            if victim.attacks and sweep.judge:
                found += expansion.real(sweep, victim, winner.trusted, winner.method, winner.step)
                if sweep.oracle:
                    found += expansion.real(sweep, victim, winner.trusted, winner.method, 0)
            found += inspections(sweep, victim, winner, detected)
        found += on_clean_model(sweep, winner)
    if sweep.judge_all:
        tried = {
            (r.trial.victim.id, r.trial.trusted, expansion.key_of(r.trial.method)): r.trial
            for r in records
        }
        for trial in tried.values():
            for victim in (v for v in expansion.meets(sweep, trial.victim) if v.attacks):
                assert trial.method is not None
                found += expansion.real(sweep, victim, trial.trusted, trial.method, 0)
    return expansion.distinct(found)


def on_clean_model(sweep: Sweep, winner: Winner) -> list[Trial]:
    """The winner of an attacked victim on one that was never attacked, where the sweep has one that
    is like it. A winner that changes nothing costs nothing; what one costs that was tuned on a
    clean model is known from there.
    """
    clean = expansion.never_attacked(sweep, winner.victim) if winner.victim.attacks else None
    if clean is None or not (sweep.judge and winner.step):
        return []
    return expansion.real(sweep, clean, winner.trusted, winner.method, winner.step)


def confirmations(sweep: Sweep, winner: Winner) -> list[Trial]:
    """The winner's trials on the report images, one for each base seed."""
    found = []
    cost = "given" if costs_given(winner) else "copies"
    for trial in expansion.trials_of(
        sweep,
        expansion.TuningTask(winner.victim, winner.trusted, winner.trial.self_poisoning),
        winner.method,
    ):
        params = {
            "copies": trial.game.params["copies"],
            "cost": cost,
            "probe": cost != "copies",  # with it, as earlier versions measured
            **{
                setting: bool(winner.trial.game.params.get(setting, False))
                for setting in ("reconstruct", "mirrored", "smooth")
            },
            "stop_at": winner.step,
            **expansion.every(sweep),
        }
        found.append(
            replace(trial, game=catalog.resolve("games", MethodConfig("confirmation", params)))
        )
    return found
