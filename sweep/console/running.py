"""How far the trials that run now have come: step of how many, loss, time left."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from sweep.execution.progress import Progress
from trials.reporting import TrialProgress
from trials.spec import Trial

WINDOW = 10  # reports from which a trial's speed is taken


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one running trial has come.

    Attributes:
        trial: the trial.
        elapsed: seconds since it was handed out.
        said: what its last reports say, such as ``step 20 of 50, loss 0.53``; empty before the
            first.
        done: share of its work that is done, in [0, 1]; None where nobody can tell.
        left: seconds to its end; None where nobody can tell.
    """

    trial: Trial
    elapsed: float
    said: str
    done: float | None
    left: float | None

    def __str__(self) -> str:
        known = f"{self.said}, " if self.said else ""
        left = "" if self.left is None else f", about {span(self.left)} left of it"
        return f"{what(self.trial)}: {known}running for {span(self.elapsed)}{left}"


class Running:
    """Remembers when the reports of the running trials came."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._reports: dict[str, deque[tuple[float, float]]] = {}  # times and shares done

    def take(self, progress: Progress) -> None:
        """Look at what has been reported since the last call."""
        now = time.monotonic()
        for known in (self._began, self._reports):
            for trial_id in known.keys() - progress.running.keys():
                del known[trial_id]
        for trial_id, trial in progress.running.items():
            self._began.setdefault(trial_id, now)
            reports = self._reports.setdefault(trial_id, deque(maxlen=WINDOW))
            done = _done(trial, progress)
            if done is None:
                continue
            if reports and done < reports[-1][1]:  # it has begun again
                reports.clear()
            if not reports or done > reports[-1][1]:
                reports.append((now, done))

    def standings(self, progress: Progress) -> Iterator[Standing]:
        """Of each running trial that ``take`` has seen, in the order in which they started."""
        now = time.monotonic()
        for trial_id, trial in list(progress.running.items()):
            if trial_id in self._began:
                done, said = _done(trial, progress), _said(trial, progress)
                left = None if done is None else self._left(trial_id, now)
                yield Standing(trial, now - self._began[trial_id], said, done, left)

    def _left(self, trial_id: str, now: float) -> float | None:
        """By the time between reports: the first one came late, as its process had to load."""
        reports = self._reports[trial_id]
        if len(reports) < 2:
            return None
        (began, first), (heard, last) = reports[0], reports[-1]
        speed = (last - first) / max(heard - began, 1e-9)
        return max(0.0, (1 - last) / speed - (now - heard))


def _done(trial: Trial, progress: Progress) -> float | None:
    """Share of a trial's work that is done, as far as anybody can tell."""
    loop, point = progress.loops.get(trial.id), progress.points.get(trial.id)
    if loop:
        return loop.done
    stop_at = trial.game.params.get("stop_at")  # of a method that reports points alone
    return (
        min(1.0, point.step / stop_at) if point and isinstance(stop_at, int) and stop_at else None
    )


def _said(trial: Trial, progress: Progress) -> str:
    """Epoch, step of how many and loss of the loop that a trial is in, and its last point."""
    loop, point = progress.loops.get(trial.id), progress.points.get(trial.id)
    facts = [_position(trial, loop)] if loop else []
    if loop and loop.loss is not None:
        facts.append(f"loss {loop.loss:.3g}")
    if point:
        facts.append(f"at step {point.step} ASR {point.asr:.3f} and CDA {point.cda:.3f}")
    return ", ".join(facts)


def _position(trial: Trial, loop: TrialProgress) -> str:
    at = f"step {loop.step} of {loop.steps}"
    if loop.part:
        return f"{loop.part}, {at}"
    epochs = trial.victim.training.params.get("epochs")
    if trial.game.name != "training" or not isinstance(epochs, int):
        return at
    return f"epoch {-(-loop.step * epochs // loop.steps)} of {epochs}, {at}"


def what(trial: Trial) -> str:
    """A trial for a person: its game, its defense or data set, and its id."""
    name = trial.method.name if trial.method else trial.victim.dataset.name
    return f"{trial.game.name} {name} {trial.id}"


def span(seconds: float) -> str:
    """A time for a person."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
