"""Run a sweep: check it, take up what an earlier run left, hand the rest to an executor."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from results.store import DEFAULT_URL, Store
from results.store.sweep_specs import ASKED, TUNING, check_covers, written_out
from results.store.url import file_of, parse
from sweep.execution import forkserver, machine, process_pool
from sweep.execution.driver import Driver, release_the_dead
from sweep.execution.executor import Engine, Executor
from sweep.execution.now import Now
from sweep.execution.outbox import Outbox
from sweep.execution.progress import Progress, ProgressReporter
from sweep.execution.scheduler import Scheduler
from sweep.execution.worker import WorkerConfig, device_for
from sweep.planning.stages import stages
from sweep.planning.strategy import Strategy
from sweep.spec.compute import STAGES, Compute
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.json_forms import to_json
from trials.spec import MethodConfig, Record, SpecError, content_id
from trials.storage.blobs import CHECKPOINT_EVERY, is_uri
from trials.storage.remote_artifacts import artifacts_at

MAKES_ARTIFACTS = ("training", "self_poison", "filtering", "self_poison_data", "self_brew")
CHECKPOINT_VARIABLE = "POISONSWEEP_CHECKPOINT_SECONDS"


def worker_config_of(
    sweep: Sweep, store_url: str = DEFAULT_URL, artifacts: str | None = None
) -> WorkerConfig:
    """Where the sweep's trials run.

    Raises SpecError for a setting of the place that is no number.
    """
    where = artifacts_of(store_url, artifacts)
    return WorkerConfig(where, sweep.compute.device, sweep.compute.threads, _checkpoint_every())


def artifacts_of(store_url: str, artifacts: str | None) -> str:
    """The artifacts' folder, absolute, or URI; they lie beside an SQLite store unless named."""
    if artifacts and is_uri(artifacts):
        return artifacts
    file = file_of(parse(store_url))
    beside = file.parent / "artifacts" if file else Path("runs/artifacts")
    return str(Path(artifacts or beside).resolve())


def _checkpoint_every() -> float:
    given = os.environ.get(CHECKPOINT_VARIABLE, "")
    try:
        every = float(given or CHECKPOINT_EVERY)
    except ValueError:
        every = -1
    if not every >= 0:
        raise SpecError(
            f"{CHECKPOINT_VARIABLE} must be a number of seconds, at least 0, got {given!r}."
        )
    return every


Planned = Callable[[Sweep, Store], Iterator[list[Strategy]]]


def execute(  # noqa: PLR0913  (the library's call: its options are keywords)
    sweep: Sweep,
    store: Store,
    worker_config: WorkerConfig,
    *,
    use_ray: bool = True,
    address: str | None = None,
    ship: bool = False,
    reporter: ProgressReporter | None = None,
    retry_failed: bool = False,
    replace_sweep: bool = False,
    checked: bool = False,
    planned: Planned = stages,
    spread: bool = False,
) -> Progress:
    """Run what is not in the store yet; the progress counts it.

    Args:
        sweep: the sweep.
        store: the only truth.
        worker_config: where its trials run.
        use_ray: run on Ray; else in worker processes of this machine.
        address: of a running Ray cluster; None starts a Ray of its own here.
        ship: send this package's code to the nodes of that cluster.
        reporter: told of each event.
        retry_failed: run those trials again that have failed.
        replace_sweep: take the sweep's name over where the store has another spec under it.
        checked: ``refuse`` has just let it pass.
        planned: makes the stages.
        spread: as of Engine.

    Raises:
        SpecError: before any compute, for what cannot run.
        Aborted: too many trials failed; everything finished is stored.
        KeyboardInterrupt: passed on; everything finished is stored, and the same call goes on from
            there.
    """
    engine = Engine(use_ray, address, ship, spread)
    if not checked:
        fits_here(sweep.compute, use_ray, address)
    plain = to_json(_plain(sweep))
    row = next((r for r in store.sweeps() if r.name == sweep.name), None)
    if row is not None and row.spec != plain and not replace_sweep:
        # before anything is loaded; add_sweep looks once more
        check_covers(sweep.name, row.spec, plain)
    failed = [f.trial.id for f in store.failures(sweep.name)] if retry_failed and row else []
    again = row is not None and row.spec == plain and not failed
    if again:  # it was checked, and is once more only if something is left to run
        artifacts_at(worker_config.artifacts).check()
    elif not checked:
        _check(sweep, worker_config, engine)
    if row is None:
        store.add_sweep(sweep.name, plain)
    release_the_dead(store)
    # before the sweep is another, as what waits was asked for by this one
    Outbox(worker_config).take_up(store, Driver().name)
    store.add_sweep(sweep.name, plain, replace=replace_sweep)
    if failed:
        store.forget(failed)
    ready = (lambda: _check(sweep, worker_config, engine)) if again else None
    run = SweepRun(sweep, store, worker_config, engine, reporter)
    return run_stages(planned(sweep, store), run, ready)


@dataclass(frozen=True, slots=True)
class SweepRun:
    """A sweep that ``execute`` has checked, its store, and where and before whose eyes it runs."""

    sweep: Sweep
    store: Store
    worker_config: WorkerConfig
    engine: Engine
    reporter: ProgressReporter | None = None


def run_stages(
    asked: Iterator[list[Strategy]], run: SweepRun, ready: Callable[[], None] | None = None
) -> Progress:
    """Run what these stages ask for and the store does not hold.

    Args:
        asked: the strategies of each stage.
        run: the sweep.
        ready: called before anything runs, if something is to; may refuse.

    Raises:
        Aborted, KeyboardInterrupt: as for ``execute``.
        SpecError: as ``ready`` does.
    """
    compute = _compute(run)
    worker_config = replace(run.worker_config, sweep=run.sweep.name)
    driver = Driver(compute.lease)
    now = Now(worker_config.scratch, run.sweep.name, run.reporter)
    scheduler = Scheduler(
        asked,
        run.store,
        run.sweep.name,
        compute.attempts,
        now,
        _usable(worker_config, compute),
        driver,
        compute.abort_at,
        Outbox(worker_config),
    )
    with driver.alive(run.store):
        if not scheduler.waiting():  # all is stored: start nothing
            return scheduler.progress
        if ready is not None:
            ready()
        with now:
            _executor(run, worker_config, compute).run(scheduler)
    scheduler.check()
    if not scheduler.over:
        raise KeyboardInterrupt
    return scheduler.progress


def _compute(run: SweepRun) -> Compute:
    compute = run.sweep.compute if run.engine.address else process_pool.with_gpu(run.sweep.compute)
    if not run.sweep.detectors:  # then nobody has to have what such a trial would take
        compute = replace(compute, detectors=compute.trials)
    return compute


def _executor(run: SweepRun, worker_config: WorkerConfig, compute: Compute) -> Executor:
    engine = run.engine
    if engine.use_ray:
        from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415  (loads Ray)

        return RayTune(worker_config, compute, engine.address, engine.ship, run.sweep.rule)
    if _pooled(compute, worker_config):
        return process_pool.ProcessPool(worker_config, 1, compute, engine.spread)
    return process_pool.Inline(worker_config)


def refuse(
    sweep: Sweep, worker_config: WorkerConfig, *, use_ray: bool, address: str | None = None
) -> None:
    """Let pass what can run. Raises SpecError for what cannot, before any compute."""
    fits_here(sweep.compute, use_ray, address)
    _check(sweep, worker_config, Engine(use_ray, address))


def _check(sweep: Sweep, worker_config: WorkerConfig, engine: Engine) -> None:
    """Refuse what cannot run: in a fork, where workers will be forks too and this process can do
    without torch.
    """
    if not engine.address:
        device_for(sweep.compute.device)
    if (
        not engine.use_ray
        and _pooled(process_pool.with_gpu(sweep.compute), worker_config)
        and "torch" not in sys.modules
    ):
        forkserver.ask(_check_here, sweep, worker_config)
    else:
        _check_here(sweep, worker_config)


def _check_here(sweep: Sweep, worker_config: WorkerConfig) -> None:
    from sweep.execution.preflight import check  # noqa: PLC0415  (loads torch)

    check(sweep, worker_config)


def _pooled(compute: Compute, worker_config: WorkerConfig) -> bool:
    return any(_needs_pool(compute.stage(name), worker_config) for name in STAGES)


def fits_here(compute: Compute, use_ray: bool, address: str | None) -> None:
    """Refuse what this machine cannot give. Raises SpecError."""
    if compute.scheduler != "none" and not use_ray:
        raise SpecError(
            f"scheduler = {compute.scheduler!r} needs Ray: leave --local out, or write scheduler "
            '= "none".'
        )
    if not address and not use_ray:
        machine.fits_here(compute)


def _needs_pool(share: Compute, worker_config: WorkerConfig) -> bool:
    """Several trials at a time, one that may have to be ended, or other threads than this
    process's.
    """
    return (
        process_pool.workers_for(share) > 1
        or share.time_limit > 0
        or share.threads != worker_config.threads
    )


def _usable(worker_config: WorkerConfig, compute: Compute) -> Callable[[Record], bool]:
    artifacts = artifacts_at(worker_config.artifacts)

    def usable(record: Record) -> bool:
        if record.status == "pruned" and compute.scheduler == "none":
            return False  # stopped early by a scheduler that this run does without
        makes = record.trial.game.name in MAKES_ARTIFACTS and record.status == "done"
        return not makes or artifacts.has(record.trial.id)

    return usable


def _plain(sweep: Sweep) -> dict[str, object]:
    """What a person would want to see of the sweep again, and all that decides its trials."""
    left_out = {"name", "compute", "victims", "defenses", "detectors", "filters", "recipes"}
    every = {f.name: getattr(sweep, f.name) for f in fields(sweep) if f.name not in left_out}
    # with what is written out where the default was another
    tuning = catalog.resolve("games", MethodConfig("tuning", sweep.tuning)).params
    every["tuning"] = {**{key: tuning[key] for key in TUNING}, **sweep.tuning}
    if sweep.game == "tuning":
        every["self_poisoning"] = list(map(written_out, sweep.self_poisoning))
    methods = {
        "defenses": list(map(asdict, sweep.defenses)),
        "detectors": list(map(asdict, sweep.detectors)),
        "filters": [f.asked() for f in sweep.filters],
        "recipes": list(map(asdict, sweep.recipes)),
    }
    return {
        ASKED: {"victims": [v.id for v in sweep.victims], **methods, **every},
        "digest": content_id(repr(replace(sweep, compute=Compute()))),
        "trusted": list(sweep.trusted),
        "seeds": list(sweep.seeds),
        "rule": sweep.rule,
        "delta": sweep.delta,
        "game": sweep.game,
        "defenses": [d.name for d in sweep.defenses],
        "victims": [v.id for v in sweep.victims],
    }
