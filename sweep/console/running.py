"""How far the trials that run now have come: step of how many, loss, time left."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from sweep.execution.progress import Progress
from trials.spec import Trial

WINDOW = 10  # reports from which a trial's speed is taken


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one running trial has come.

    Attributes:
        trial: the trial.
        elapsed: seconds since it was handed out.
        step: steps done; None before its first report.
        steps: steps in all; 0 where nobody can tell.
        left: seconds to its end; None where nobody can tell.
        facts: what its last report says, such as ``loss 0.53``.
    """

    trial: Trial
    elapsed: float
    step: int | None
    steps: int
    left: float | None
    facts: str

    def __str__(self) -> str:
        known = "" if self.step is None else f"{self.position()}, {self.facts}, "
        left = "" if self.left is None else f", about {span(self.left)} left of it"
        return f"{what(self.trial)}: {known}running for {span(self.elapsed)}{left}"

    def position(self) -> str:
        """Epoch and step of how many, as far as they are known."""
        if not self.steps:
            return f"step {self.step}"
        at = f"step {self.step} of {self.steps}"
        epochs = self.trial.victim.training.params.get("epochs")
        if self.trial.game.name != "training" or not isinstance(epochs, int) or self.step is None:
            return at
        return f"epoch {-(-self.step * epochs // self.steps)} of {epochs}, {at}"


class Running:
    """Remembers when the reports of the running trials came."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._reports: dict[str, deque[tuple[float, int]]] = {}

    def take(self, progress: Progress) -> None:
        """Look at what has been reported since the last call."""
        now = time.monotonic()
        for known in (self._began, self._reports):
            for trial_id in known.keys() - progress.running.keys():
                del known[trial_id]
        for trial_id, trial in progress.running.items():
            self._began.setdefault(trial_id, now)
            reports = self._reports.setdefault(trial_id, deque(maxlen=WINDOW))
            step, _, _ = _reported(trial, progress)
            if step and step not in {known for _, known in reports}:
                reports.append((now, step))

    def standings(self, progress: Progress) -> Iterator[Standing]:
        """Of each running trial that ``take`` has seen, in the order in which they started."""
        now = time.monotonic()
        for trial_id, trial in list(progress.running.items()):
            if trial_id in self._began:
                step, steps, facts = _reported(trial, progress)
                left = self._left(trial_id, steps, now)
                yield Standing(trial, now - self._began[trial_id], step, steps, left, facts)

    def _left(self, trial_id: str, steps: int, now: float) -> float | None:
        reports = self._reports[trial_id]
        if not steps or not reports:
            return None
        heard, last = reports[-1]  # the first one came late, as its process had to load first
        began, first = reports[0] if len(reports) > 1 else (self._began[trial_id], 0)
        speed = (last - first) / max(heard - began, 1e-9)
        return max(0.0, (steps - last) / speed - (now - heard))


def _reported(trial: Trial, progress: Progress) -> tuple[int | None, int, str]:
    """Steps done, steps in all (0: unknown) and the facts of a trial's last report."""
    training, point = progress.trainings.get(trial.id), progress.points.get(trial.id)
    if training:
        return training.step, training.steps, f"loss {training.loss:.3g}"
    if point:
        facts = f"ASR {point.asr:.3f}, CDA {point.cda:.3f}"
        return point.step, _steps(trial, point.step), facts
    return None, 0, ""


def _steps(trial: Trial, step: int) -> int:
    """Steps that a trial takes in all, by its settings; a copy's poisoning goes on in rounds."""
    params = trial.method.params if trial.method else trial.game.params
    steps = trial.game.params.get("stop_at") or params.get("steps")
    if not isinstance(steps, int) or steps < 1:
        return 0
    return max(1, -(-step // steps)) * steps if trial.game.name == "self_poison" else steps


def what(trial: Trial) -> str:
    """A trial for a person: its game, its defense or data set, and its id."""
    name = trial.method.name if trial.method else trial.victim.dataset.name
    return f"{trial.game.name} {name} {trial.id}"


def span(seconds: float) -> str:
    """A time for a person."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
