"""Kill a sweep's driver at random moments until the sweep is complete, and count what that lost or
repeated.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from harness import LONGEST, Run, frozen, outcomes, until

from trials.spec import Record

# where in a run's life the moment lies; a commit: a worker has just put its record on disk, the
# driver is about to
MOMENTS = {"start": 5, "trial": 6, "commit": 7, "end": 2}


@dataclass
class Tally:
    """What was seen over all rounds."""

    kills: Counter[str] = field(default_factory=Counter)
    whole_group: int = 0  # of these, kills of the driver and its workers at once
    sweeps: int = 0
    runs: int = 0
    records_at_risk: int = 0  # records that were there when a kill came, summed over the kills
    trials: int = 0  # of the completed sweeps
    executions: int = 0  # starts of a trial in a worker
    cut_short: int = 0  # of these, of trials that were in flight when a kill came
    pending: int = 0  # records that at the kill were on disk, but not yet in the store
    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    damaged: int = 0
    differ: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """Plain numbers."""
        kills = {f"killed_at_{k}": self.kills[k] for k in MOMENTS}
        same = (
            "sweeps",
            "runs",
            "records_at_risk",
            "trials",
            "executions",
            "cut_short",
            "pending",
            "damaged",
        )
        lists = ("lost", "changed", "twice", "stale", "differ")
        return {
            "kills": self.kills.total(),
            **kills,
            "whole_group": self.whole_group,
            **{k: getattr(self, k) for k in same},
            **{k: len(getattr(self, k)) for k in lists},
        }

    def clean(self) -> bool:
        """True when nothing went wrong."""
        return not (
            self.lost or self.changed or self.twice or self.stale or self.damaged or self.differ
        )


class Killing:
    """Rounds of kills: a new sweep whenever one is complete, until there were enough."""

    def __init__(
        self, make: Callable[[int], Run], rng: Random, whole: dict[str, Record], startup: float
    ) -> None:
        self._make, self._rng, self._whole, self._startup = make, rng, whole, startup
        self.tally = Tally()

    def go(self, rounds: int) -> Tally:
        """Kill ``rounds`` times, complete the last sweep, and say what was seen."""
        while self.tally.kills.total() < rounds:
            run = self._make(self.tally.sweeps)
            try:
                self._one_sweep(run, rounds)
            finally:
                run.sweep_up()
            self.tally.sweeps += 1
        return self.tally

    def _one_sweep(self, run: Run, rounds: int) -> None:
        known: dict[str, str] = {}
        while True:
            began = len(run.started())
            run.start()
            self.tally.runs += 1
            killed = self.tally.kills.total() < rounds and self._kill(run, len(known))
            if not killed:
                assert run.end() == 0, run.said.read_text()
            known = self._look(run, known, began, killed)
            if not killed:
                break
        self.tally.stale += run.quiet(helpers=True).values()
        self.tally.trials += len(known)
        there, wanted = outcomes(run.records()), outcomes(self._whole)
        self.tally.differ += [
            i for i in wanted.keys() | there.keys() if there.get(i) != wanted.get(i)
        ]

    def _kill(self, run: Run, known: int) -> bool:
        """Wait for a moment and kill; False if the run was over before."""
        moment = self._rng.choices(list(MOMENTS), list(MOMENTS.values()))[0]
        self._wait(moment, run, known)
        everything = self._rng.random() < 0.4
        if run.over:
            return False
        run.kill(everything)
        self.tally.kills[moment] += 1
        self.tally.whole_group += everything
        return True

    def _wait(self, moment: str, run: Run, known: int) -> None:
        started, outbox = len(run.started()), run.artifacts / "outbox"
        number, most = (
            self._rng.randint(1, 8),
            {"start": 0.0, "trial": 0.4, "commit": 0.01, "end": 0.5}[moment],
        )
        put: set[str] = set()

        def come() -> bool:
            if moment == "trial":
                return len(run.started()) >= started + number
            if moment == "commit":
                put.update(f.name for f in outbox.glob("*.json"))
                return len(put) >= number
            return moment == "end" and len(ended(run)) >= len(self._whole)

        seconds = self._rng.uniform(0, 1.3 * self._startup) if moment == "start" else LONGEST
        until(lambda: run.over or come(), seconds, 0.002)
        time.sleep(self._rng.uniform(0, most))

    def _look(self, run: Run, known: dict[str, str], began: int, killed: bool) -> dict[str, str]:
        """Check what a run left against what was there before it; returns what is there now."""
        tally = self.tally
        tally.stale += run.quiet().values()
        tally.damaged += not run.intact()
        there, started = frozen(run.records()), run.started()[began:]
        tally.executions += len(started)
        tally.lost += [i for i in known if i not in there]
        tally.changed += [i for i in known if i in there and there[i] != known[i]]
        tally.twice += [i for i, n in Counter(started).items() if i in known or n > 1]
        if killed:
            tally.records_at_risk += len(there)
            tally.pending += len(there.keys() - {r.trial.id for r in run.stored()})
            tally.cut_short += len(set(started) - there.keys())
        return there


def ended(run: Run) -> set[str]:
    """Trials that a worker has brought to an end."""
    return {e["trial"] for e in run.event_log() if e["event"] != "started"}
