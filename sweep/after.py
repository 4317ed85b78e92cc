"""What follows tuning: the best on the report images, winners on real attacks, detectors on what they repaired."""

from collections.abc import Sequence
from dataclasses import replace

from results.selection import CONTROLS, Winner, overall, winners
from search_spaces._walks import grid, thin
from sweep import plan
from sweep.config import Detector, Sweep
from trials import catalog
from trials.spec import Choice, Record, Trial, Victim


def judged(sweep: Sweep, records: Sequence[Record]) -> list[Trial]:
    """What follows tuning: the best on the report images, winners on real attacks, detectors on repaired models."""
    ranked = winners(records, sweep.rule)
    found = [t for w in overall(ranked) if sweep.confirm for t in confirmations(sweep, w)]
    for winner in ranked:
        for victim in plan.meets(sweep, winner.victim):
            if victim.attacks and sweep.judge:
                found += plan.real(sweep, victim, winner.trusted, winner.choice, winner.step)
                if sweep.oracle:
                    found += plan.real(sweep, victim, winner.trusted, winner.choice, 0)
            found += inspections(sweep, victim, winner)
    if sweep.judge_all:
        tried = {(r.trial.victim.id, r.trial.trusted, plan.key_of(r.trial.method)): r.trial for r in records}
        for trial in tried.values():
            for victim in (v for v in plan.meets(sweep, trial.victim) if v.attacks):
                assert trial.method is not None
                found += plan.real(sweep, victim, trial.trusted, trial.method, 0)
    return plan.distinct(found)


def inspections(sweep: Sweep, victim: Victim, winner: Winner) -> list[Trial]:
    """The detectors on a victim; those that compare are given it as the winner repairs it."""
    found = []
    for detector in sweep.detectors:
        if compares(detector) and winner.defense not in repairs_of(sweep, detector):
            continue
        params = {**plan.every(sweep), "stop_at": winner.step if compares(detector) else 0}
        game = catalog.resolve("games", Choice("detectability", params))
        method = winner.choice if compares(detector) and winner.step else None
        for choice in detections(detector):
            found += [
                Trial(game=game, victim=victim, method=method, trusted=winner.trusted, seed=s, detector=choice)
                for s in sweep.seeds
            ]
    return found


def compares(detector: Detector) -> bool:
    """True where the detector looks at the repaired model beside the suspect."""
    return catalog.describe("detectors", detector.name).compares


def repairs_of(sweep: Sweep, detector: Detector) -> tuple[str, ...]:
    """The defenses whose repaired models the detector is given: those named, or all that are no controls."""
    return detector.repairs or tuple(d.name for d in sweep.defenses if d.name not in CONTROLS)


def detections(detector: Detector) -> list[Choice]:
    """The settings that a detector is run with, resolved, the paper's first."""
    points = thin(grid(catalog.find("detector_spaces", detector.name), detector.profile), detector.limit, 0)
    chosen = [Choice(p.name, {**p.params, **detector.fixed}) for p in points]
    return list({str(c.identity()): c for c in (catalog.resolve("detectors", c) for c in chosen)}.values())


def confirmations(sweep: Sweep, winner: Winner) -> list[Trial]:
    """The winner's trials on the report images, one for each base seed."""
    found = []
    for trial in plan.trials_of(sweep, plan.Cell(winner.victim, winner.trusted, winner.trial.plant), winner.choice):
        params = {"copies": trial.game.params["copies"], "stop_at": winner.step, **plan.every(sweep)}
        found.append(replace(trial, game=catalog.resolve("games", Choice("confirmation", params))))
    return found
