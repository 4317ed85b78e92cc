"""Run one trial: from a frozen spec to a frozen record, or step by step for a scheduler that may
stop it.
"""

import math
import time
import traceback
import typing
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from trials import catalog
from trials.data_views import SelfPoisonDataContext, self_poison_data_context
from trials.filtering import FilteringContext, context_of
from trials.leaving import leaving
from trials.own_repairs import OwnRepairContext, own_repair_context
from trials.provenance import of_code, of_device, of_model
from trials.reporting import TrialProgress, reporter
from trials.runtime import DefenderContext, EvaluatorContext, TrialRuntime
from trials.self_brewing import SelfBrewContext, self_brew_context
from trials.spec import Point, Record, Trial, derive
from trials.storage.checkpoint import Checkpointer
from trials.trial_run import Reports, Steps, TrialRun

_Context = (
    DefenderContext
    | EvaluatorContext
    | FilteringContext
    | OwnRepairContext
    | SelfPoisonDataContext
    | SelfBrewContext
)

PROGRESS_SECONDS = 2.0  # a trial tells of its progress at most this often


def run(
    trial: Trial, runtime: TrialRuntime, on_point: Callable[[Point], None] | None = None
) -> Record:
    """The trial's record; exceptions of the trial become a failed record with its traceback.

    Args:
        trial: what to run.
        runtime: where.
        on_point: called with each point; one at step 0 begins the curve anew.
    """
    running = perform(trial, runtime)
    for report in running.reports():
        if isinstance(report, TrialProgress):
            reporter.pass_on(report)
        elif on_point is not None:
            on_point(report)
    return running.record


def perform(trial: Trial, runtime: TrialRuntime) -> TrialRun:
    """The trial, to be iterated for its points as they come; starts from a clean state."""
    return TrialRun(_points(trial, runtime))


def _points(trial: Trial, runtime: TrialRuntime) -> Reports[Record]:
    torch.manual_seed(derive(trial.seed, "torch"))
    reporter.begin()
    curve: list[Point] = []
    metrics: Mapping[str, float] = {}
    error, may_go_on, told = None, False, -math.inf
    provenance = {
        **of_code(),
        **of_model(trial.victim.model),
        **of_device(runtime.device),
    }
    checkpointer = runtime.checkpointer(trial, provenance)
    try:
        play = catalog.find("games", trial.game.name)
        ctx_type = next(iter(typing.get_type_hints(play).values()))
        ctx = _context(ctx_type, trial, runtime, checkpointer)
        game = Steps[Mapping[str, float]](play(ctx, **trial.game.as_stored.params))
        for report in game:
            if isinstance(report, TrialProgress):
                if time.monotonic() - told >= PROGRESS_SECONDS:
                    told = time.monotonic()
                    yield report
                continue
            yield _added(curve, report, checkpointer.elapsed())
        metrics = _finite(game.result)
    except GeneratorExit:
        raise
    except Exception as raised:
        error = traceback.format_exc()
        # a full disk or a lost network: the next run takes the checkpoint
        may_go_on = isinstance(raised, OSError)
        if runtime.device.startswith("cuda"):
            torch.cuda.empty_cache()
    finally:
        leaving.over()
    if not may_go_on:
        checkpointer.end()
    return Record(
        trial=trial,
        status="failed" if error else "done",
        metrics={} if error else metrics,
        curve=tuple(curve),
        error=error,
        seconds=checkpointer.elapsed(),
        provenance={**provenance, **checkpointer.notes},
    )


def _context(
    ctx_type: type, trial: Trial, runtime: TrialRuntime, checkpointer: Checkpointer
) -> _Context:
    """What a game is handed, by the type of its first argument."""
    if ctx_type is DefenderContext:
        return runtime.defender(trial, checkpointer)
    if ctx_type is FilteringContext:
        return context_of(trial, runtime)
    if ctx_type is SelfPoisonDataContext:
        return self_poison_data_context(trial, runtime)
    if ctx_type is SelfBrewContext:
        return self_brew_context(trial, runtime)
    if ctx_type is OwnRepairContext:
        return own_repair_context(trial, runtime)
    return runtime.evaluator(trial, checkpointer)


def _added(curve: list[Point], point: Point, elapsed: float) -> Point:
    """Add a point to the curve; one at step 0 begins it anew."""
    _finite({"cda": point.cda, "asr": point.asr, **point.extra})
    if point.step == 0:
        curve.clear()
    curve.append(replace(point, seconds=point.seconds or elapsed))
    return curve[-1]


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """The values as floats. Raises ArithmeticError for a NaN or an infinity: a broken run has no
    number.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise ArithmeticError(f"{name} is {value}, not a finite number")
    return {name: float(value) for name, value in values.items()}
