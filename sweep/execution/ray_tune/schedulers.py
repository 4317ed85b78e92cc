"""What Tune is told of trials that run: to leave them alone, or to stop those that fall behind
(ASHA).
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from results.selection.rules import SLACK, delta_of, pick
from sweep.execution.ray_tune import actor_cache, trial_cleanup
from trials.spec import Point, Record, Trial, canonical

PATIENCE = 3  # points in a row beyond Δ that a trial may have, where its game does not say


class Fifo(FIFOScheduler):
    """Leaves starting actors alone: picking a pending trial for a warm actor would cancel the one
    starting for it.

    Args:
        why: is told, under Tune's id, why a trial was lost.
    """

    def __init__(self, why: dict[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._why = why
        self._controller: Any = None

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._controller = tune_controller

    def stop(self) -> None:
        """Stop all workers after their step, if that takes a few seconds at most, so that
        checkpoints are written.
        """
        with contextlib.suppress(Exception):
            # Tune's state may be half changed where the run was interrupted
            self._controller.cleanup()

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._why[trial.trial_id] = _error_of(trial)
        actor_cache.dropped(tune_controller)
        trial_cleanup.forget(tune_controller, trial)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        trial_cleanup.forget(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        return None


def _error_of(trial: Any) -> str:
    """Why a trial ended, in one line; Tune's own get_error looks where no file lies yet."""
    told = Path(trial.error_file) if trial.error_file else None
    return " ".join(told.read_text().split()) if told and told.is_file() else ""


class Asha(Fifo):
    """ASHA among the configurations of one defense and question; all else runs to its end.

    They are compared by what the sweep's rule would choose of their curves so far, and when they
    have made as many points: first when a trial has had one more than it may have beyond Δ, as a
    high learning rate costs accuracy at first and wins it back, then at four times as many.
    """

    def __init__(self, why: dict[str, str]) -> None:
        super().__init__(why)
        self._groups: dict[str, AsyncHyperBandScheduler] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, trial)
        if group := trial.config["group"]:
            first = trial.config["first_rung"]
            self._groups.setdefault(group, _hyperband(first)).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        group = self._groups.get(trial.config["group"])
        if group is None:
            return str(TrialScheduler.CONTINUE)
        return str(group.on_trial_result(tune_controller, trial, result))


def _hyperband(first: int) -> AsyncHyperBandScheduler:
    return AsyncHyperBandScheduler(
        time_attr="reports",
        metric="standing",
        mode="min",
        max_t=10**9,
        grace_period=first,
        reduction_factor=4,
    )


def group_of(trial: Trial) -> str:
    """Whom a scheduler may compare a trial with; "" for nobody."""
    if (
        trial.method is None
        or trial.game.name not in {"tuning", "robustness"}
        or trial.game.params.get("stop_at")
    ):
        return ""
    self_poisoning = trial.self_poisoning.identity() if trial.self_poisoning else None
    return canonical(
        [trial.victim.id, trial.trusted, trial.seed, self_poisoning, trial.method.name]
    )


def first_rung(trial: Trial) -> int:
    """After how many points a trial may be stopped for the first time; the one before the defense
    is none.
    """
    return int(trial.game.params.get("patience", PATIENCE)) + 1


def standing(trial: Trial, curve: Sequence[Point], rule: str) -> dict[str, float]:
    """How a trial stands among others, the lower the better, and after how many points.

    That is the ASR of the point that the rule takes of the curve so far. One without a point within
    Δ, but for that before the defense, stands behind all that have one; of such, the one that lost
    the least is first.
    """
    made = [p for p in curve if p.step > 0]
    if not made:
        return {}
    record = Record(trial=trial, status="done", curve=tuple(curve))
    chosen, delta = pick(record, rule), delta_of(record)
    losses = [curve[0].cda - p.cda for p in made]
    assert chosen is not None
    if min(losses) > delta + SLACK or curve[0].cda - chosen.point.cda > delta + SLACK:
        return {"standing": 1 + max(delta, min(losses)), "reports": len(made)}
    return {"standing": chosen.point.asr, "reports": len(made)}
