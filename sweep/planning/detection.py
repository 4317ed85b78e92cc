"""The trials of detectors: tuned on self-poisoned copies where they have several settings, then run
on every victim.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from results.comparison.tuned_detectors import tuned_detectors
from results.selection.winners import CONTROLS, Winner, winners
from search_spaces._strategies import grid, thin
from sweep.planning import expansion
from sweep.spec.sweep_file import Detector, Sweep
from trials import catalog
from trials.spec import MethodConfig, Record, Trial, Victim


def detector_tuning(sweep: Sweep, records: Sequence[Record]) -> list[Trial]:
    """Each setting of the detectors that have several, on the copies of what the defenses were
    tuned on.
    """
    copies = int(catalog.resolve("games", MethodConfig("tuning", sweep.tuning)).params["copies"])
    found = []
    for winner in winners(records, sweep.rule) if sweep.detectors else []:
        for detector in sweep.detectors:
            points = detections(detector)
            if len(points) == 1 or not detector.tune or not _wanted(sweep, detector, winner):
                continue
            method, stop_at = _repair(detector, winner)
            params = {**expansion.every(sweep), "stop_at": stop_at, "copies": copies}
            game = catalog.resolve("games", MethodConfig("detector_tuning", params))
            base = replace(winner.trial, game=game, method=method)
            found += [
                replace(base, detector=p, seed=s) for p, s in itertools.product(points, sweep.seeds)
            ]
    return expansion.distinct(found)


def inspections(
    sweep: Sweep, victim: Victim, winner: Winner, detected: Sequence[Record]
) -> list[Trial]:
    """The detectors on a victim; those that compare are given it as the winner repairs it."""
    found = []
    for detector in sweep.detectors:
        if not _wanted(sweep, detector, winner):
            continue
        method, stop_at = _repair(detector, winner)
        game = catalog.resolve(
            "games", MethodConfig("detectability", {**expansion.every(sweep), "stop_at": stop_at})
        )
        for config in _chosen(detector, winner, method, detected):
            found += [
                Trial(
                    game=game,
                    victim=victim,
                    method=method,
                    trusted=winner.trusted,
                    seed=s,
                    detector=config,
                )
                for s in sweep.seeds
            ]
    return found


def compares(detector: Detector) -> bool:
    """True where the detector looks at the repaired model beside the suspect."""
    return catalog.describe("detectors", detector.name).compares


def repairs_of(sweep: Sweep, detector: Detector) -> tuple[str, ...]:
    """The defenses whose repaired models the detector is given: those named, or all that are no
    controls.
    """
    return detector.repairs or tuple(d.name for d in sweep.defenses if d.name not in CONTROLS)


def detections(detector: Detector) -> list[MethodConfig]:
    """The settings that a detector may be run with, resolved, the paper's first."""
    points = thin(
        grid(catalog.find("detector_spaces", detector.name), detector.profile), detector.limit, 0
    )
    chosen = [MethodConfig(p.name, {**p.params, **detector.fixed}) for p in points]
    return expansion.distinct_configs(catalog.resolve("detectors", c) for c in chosen)


def _wanted(sweep: Sweep, detector: Detector, winner: Winner) -> bool:
    return not compares(detector) or winner.defense in repairs_of(sweep, detector)


def _repair(detector: Detector, winner: Winner) -> tuple[MethodConfig | None, int]:
    """The defense whose model the detector compares with, and its step; none where it does not, or
    it does nothing.
    """
    return (winner.method, winner.step) if compares(detector) and winner.step else (None, 0)


def _chosen(
    detector: Detector, winner: Winner, method: MethodConfig | None, detected: Sequence[Record]
) -> list[MethodConfig]:
    """All points, or of several that were tuned the best one."""
    points = detections(detector)
    if len(points) == 1 or not detector.tune:
        return points
    key = expansion.key_of(method)
    mine = [
        t.detector
        for t in tuned_detectors(detected)
        if t.victim == winner.victim.id and t.trusted == winner.trusted
        if t.detector in points and expansion.key_of(t.repair) == key
    ]
    return mine[:1]
