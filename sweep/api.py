"""A sweep run, its winners and its report, in one call of Python each."""

from dataclasses import dataclass
from pathlib import Path

from results.report.sweep_results import Report, SweepResults, Winners
from results.selection.contenders import rule_of
from results.selection.winners import winners
from results.store import DEFAULT_URL, Store
from sweep.console.notebook import progress_of
from sweep.execution.opening import as_begun, opened
from sweep.execution.process_pool import trials_at_a_time
from sweep.execution.progress import Progress
from sweep.execution.runner import execute, worker_config_of
from sweep.spec.sweep_file import Sweep


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RunResult(SweepResults):
    """A sweep's results after a run, and what that run did."""

    progress: Progress


def run(
    sweep: Sweep,
    store: str = DEFAULT_URL,
    *,
    artifacts: str | None = None,
    use_ray: bool = False,
    replace: bool = False,
    progress: bool | None = None,
) -> RunResult:
    """Run what the store does not have yet; a second time it runs nothing.

    Args:
        sweep: as ``read`` or ``parse`` gives it.
        store: the database's address.
        artifacts: folder or URI of the weights; None: beside the store.
        use_ray: run on Ray instead of worker processes.
        replace: let it take over the name of a stored sweep with another spec.
        progress: show it; None: in a notebook and on a terminal.

    Raises:
        SpecError: before any compute, for what cannot run.
    """
    worker_config = worker_config_of(sweep, store, artifacts)
    with opened(sweep, store, worker_config, use_ray=use_ray) as (found, checked):
        sweep = as_begun(sweep, found)
        workers = trials_at_a_time(sweep.compute)
        with progress_of(sweep.name, sweep.rule, workers, progress) as reporter:
            done = execute(
                sweep,
                found.patient(sweep.compute.outage, reporter.say if reporter else None),
                worker_config,
                use_ray=use_ray,
                replace_sweep=replace,
                checked=checked,
                reporter=reporter,
            )
        records = tuple(found.records(sweep.name))
    return RunResult(name=sweep.name, rule=sweep.rule, records=records, progress=done)


def best(sweep: str, store: str = DEFAULT_URL, rule: str = "") -> Winners:
    """The winner of each defense, the best one first; by the sweep's own rule, if none is given.

    Raises SpecError for an unknown sweep or rule.
    """
    with Store.read(store) as found:
        records = found.records(sweep)
        return Winners(tuple(winners(records, rule or _rule(found, sweep))))


def report(
    sweep: str,
    store: str = DEFAULT_URL,
    *,
    out: str | Path = "report.html",
    rule: str = "",
) -> Report:
    """Write the page of evidence to ``out``, and give the results that it shows; winners are
    chosen by the sweep's own rule, if none is given.

    Raises SpecError for an unknown sweep or rule, and where the page cannot be written.
    """
    with Store.read(store) as found:
        records = tuple(found.records(sweep))
        rule = rule or _rule(found, sweep)
    path = SweepResults(sweep, rule, records).report(out)
    return Report(name=sweep, rule=rule, records=records, path=path)


def _rule(store: Store, sweep: str) -> str:
    """The sweep's own."""
    return rule_of(next(row for row in store.sweeps() if row.name == sweep))
