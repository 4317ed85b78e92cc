"""The product in one call: tune defenses on self-poisoned copies of a given model, and repair it
with the winner.
"""

import functools
import math
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from results.report.page import write
from results.selection.understood import Understood
from results.store import Store
from sweep.commands import outputs, repaired_files
from sweep.commands.asked import dataset_of, says_order, sweep_of, there_are
from sweep.commands.class_orders import class_order, with_order
from sweep.commands.given_model import model_of, says_norm
from sweep.commands.image_size import image_size
from sweep.commands.poisoner import with_optimizer
from sweep.commands.probe import normalised
from sweep.commands.repair import apply, choose
from sweep.commands.understanding import understand
from sweep.console.own_work import telling
from sweep.console.progress import ConsoleProgress
from sweep.execution import runner
from sweep.execution.executor import Engine
from sweep.execution.preflight import check, without_unfit
from sweep.execution.process_pool import spread, trials_at_a_time, with_gpu
from sweep.execution.progress import Aborted
from sweep.execution.worker import WorkerConfig, make_runtime
from sweep.planning.evaluation import confirmations
from sweep.planning.in_turn import in_turn
from sweep.planning.stages import stages
from sweep.planning.strategy import ListStrategy, Strategy
from sweep.spec.sweep_file import Sweep
from trials.spec import SpecError

MINUTES = 30.0  # for all of it, about, where nobody says which defenses


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done, checked, and what was made of the model and the images; nothing is spent
    or written yet.
    """

    sweep: Sweep
    title: str
    out: Path
    url: str
    worker_config: WorkerConfig
    use_ray: bool
    understood: Understood
    began: float  # by the monotonic clock; the minutes count from then on
    left_out: tuple[str, ...] = ()  # why, for each defense that the model cannot bear
    own: bool = False  # nobody said which defenses
    minutes: float = math.inf  # in which defenses take turns; infinity: all of them run


def prepare(  # noqa: PLR0913
    model: str | Path,
    arch: str | Mapping[str, Any],
    trusted: str | Path,
    out: str | Path,
    *,
    spec: str | Path | Mapping[str, Any] | None = None,
    size: int | None = None,
    norm: str = "",
    mean: str = "",
    std: str = "",
    use_ray: bool = False,
    seed: int | None = None,
    device: str = "",
    flip: bool | None = None,
    order: str | None = None,
    classes: str | Path | None = None,
    minutes: float | None = None,
) -> Order:
    """Check what ``defend`` is asked for, and look at model and images; the arguments and errors
    are the same, but that both are files.
    """
    began = time.monotonic()
    model, trusted, out = Path(model), Path(trusted), Path(out)
    given = math.inf if spec else MINUTES
    limit = given if minutes is None else minutes
    if not limit > 0:
        raise SpecError(
            f"--minutes must be more than 0, got {limit:g}. Leave it out for {given:g}."
        )
    there_are(model, trusted)
    named = model_of(model, arch, norm=norm, mean=mean, std=std)
    sized = f"The model gets images of {size} x {size} pixels, as asked for."
    if size is None:
        size, sized = image_size(
            named, dataset_of(trusted, spec, flip=flip, order=order, classes=classes)
        )
    sweep = sweep_of(
        model,
        arch,
        trusted,
        spec,
        size=size,
        norm=norm,
        mean=mean,
        std=std,
        seed=seed,
        device=device,
        flip=flip,
        order=order,
        classes=classes,
    )
    outputs.refuse(out, model, trusted)
    url = outputs.url_of(out)
    worker_config = runner.worker_config_of(sweep, url)
    runner.fits_here(sweep.compute, use_ray, None)
    runtime, told = make_runtime(worker_config), says_order(spec, order, classes)
    taken = class_order(runtime, sweep.victims[0], told=told)
    sweep = replace(sweep, victims=(with_order(sweep.victims[0], taken),))
    with tempfile.TemporaryDirectory() as nowhere:  # so that what is refused leaves nothing behind
        there, left_out = runner.worker_config_of(sweep, url, nowhere), list[str]()
        if spec is None:  # nobody asked for these defenses by name
            sweep, left_out = without_unfit(sweep, there)
        sweep, poisoner = with_optimizer(sweep, there)
        check(sweep, there)
    victim, said = normalised(runtime, sweep.victims[0], asked=says_norm(named))
    sweep = replace(sweep, victims=(victim,))
    understood = replace(
        understand(runtime, victim, taken.said), prepared=(sized, *filter(None, [said, poisoner]))
    )
    title = f"{sweep.name}: {model.name}"
    return Order(
        sweep=sweep,
        title=title,
        out=out,
        url=url,
        worker_config=worker_config,
        use_ray=use_ray,
        understood=understood,
        left_out=tuple(left_out),
        own=spec is None,
        minutes=limit,
        began=began,
    )


def carry_out(
    order: Order, reporter: ConsoleProgress | None = None, *, retry_failed: bool = False
) -> dict[str, Any]:
    """Do what ``prepare`` has checked; see ``defend``."""
    sweep, out, worker_config = order.sweep, order.out, order.worker_config
    moved_to = begun(order, reporter)
    with Store.open(order.url) as opened:
        store = opened.patient(sweep.compute.outage, reporter.say if reporter else None)
        stopped = tuned(order, store, reporter, retry_failed)
        alone = _alone(order)
        with _told_of("repairing the given model with the winners", reporter):
            chosen = choose(sweep, store.records(sweep.name), make_runtime(alone))
        if chosen.winner:
            last: list[Strategy] = [ListStrategy("the winner", confirmations(sweep, chosen.winner))]
            engine = Engine(use_ray=order.use_ray, spread=True)
            run = runner.SweepRun(sweep, store, worker_config, engine, reporter)
            runner.run_stages(iter([last]), run)
        records = store.records(sweep.name)
    with _told_of("repairing the given model", reporter):
        choice, applied = apply(
            sweep, chosen, records, make_runtime(alone), out, order.understood, stopped
        )
    page = write(records, out / outputs.REPORT, title=order.title, rule=sweep.rule, applied=applied)
    weights = repaired_files.weights_in(out)
    files = [*([weights] if weights else []), out / outputs.CHOICE, page]
    return {
        **choice,
        "files": [str(f) for f in files],
        "set_aside": str(moved_to) if moved_to else None,
    }


def begun(order: Order, reporter: ConsoleProgress | None) -> Path | None:
    """Make the folder and say what is to be done; where what another run left in it went."""
    if reporter:
        for line in order.left_out:
            reporter.say(line)
    if reporter and not math.isinf(order.minutes):
        reporter.say(
            "defenses are tried in turn, the cheapest first, until one repairs the model or "
            f"{order.minutes:g} minutes are nearly up, of which the rest confirms the winner "
            "(copies that take long leave defenses a third of the time at least); --minutes (in "
            "Python minutes=) changes that"
        )
    run = outputs.run_of(order.sweep)
    moved_to = outputs.settle(order.out, order.sweep, run, outputs.earlier(order.out))
    if moved_to and reporter:
        reporter.say(f"what another run left in {order.out} is in {moved_to} now")
    return moved_to


def tuned(
    order: Order, store: Store, reporter: ConsoleProgress | None, retry_failed: bool = False
) -> str:
    """Tune on the copies; why that ended before all of it had run, or nothing."""
    try:
        runner.execute(
            order.sweep,
            store,
            order.worker_config,
            use_ray=order.use_ray,
            reporter=reporter,
            retry_failed=retry_failed,
            replace_sweep=True,
            planned=_planned(order),
            spread=True,
        )
    except Aborted as problem:  # what had finished by then is told all the same
        return str(problem)
    return ""


def _told_of(what: str, reporter: ConsoleProgress | None) -> AbstractContextManager[None]:
    return telling(what, reporter.say) if reporter else nullcontext()


def _alone(order: Order) -> WorkerConfig:
    """Where one repair runs while nothing else does."""
    share = spread(with_gpu(order.sweep.compute).stage("trials"), 1)
    return replace(order.worker_config, threads=share.threads)


def _planned(order: Order) -> runner.Planned:
    """All defenses, or, where the time is limited, in turn."""
    if math.isinf(order.minutes):
        return stages
    workers = trials_at_a_time(order.sweep.compute)
    left = max(order.minutes - (time.monotonic() - order.began) / 60, 0.0)
    return functools.partial(in_turn, minutes=left, workers=workers, own=order.own)
