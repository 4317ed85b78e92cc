"""What ``from sweep import ...`` gives: a sweep run and its winners in one call each."""

from results.selection.rules import DEFAULT_RULE
from results.selection.winners import Winner, winners
from results.store import DEFAULT_URL, Store
from sweep.execution.opening import as_begun, opened
from sweep.execution.progress import Progress
from sweep.execution.runner import execute, worker_config_of
from sweep.spec.sweep_file import Sweep


def run(
    sweep: Sweep,
    store: str = DEFAULT_URL,
    *,
    artifacts: str | None = None,
    use_ray: bool = False,
    replace: bool = False,
) -> Progress:
    """Run what the store does not have yet; a second time it runs nothing.

    ``replace`` lets it take over the name of a stored sweep with another spec.

    Raises:
        SpecError: before any compute, for what cannot run.
    """
    worker_config = worker_config_of(sweep, store, artifacts)
    with opened(sweep, store, worker_config, use_ray=use_ray) as (found, checked):
        sweep = as_begun(sweep, found)
        patient = found.patient(sweep.compute.outage)
        return execute(
            sweep, patient, worker_config, use_ray=use_ray, replace_sweep=replace, checked=checked
        )


def best(sweep: str, store: str = DEFAULT_URL, rule: str = DEFAULT_RULE) -> list[Winner]:
    """The winner of each defense, the best one first.

    Raises SpecError for an unknown sweep or rule.
    """
    with Store.read(store) as found:
        return winners(found.records(sweep), rule)
