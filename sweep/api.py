"""What ``from sweep import ...`` gives: a sweep run and its winners in one call each."""

from results.selection import Winner, winners
from results.store import DEFAULT_URL, Store
from sweep.config import Sweep
from sweep.engine import execute, place_of
from sweep.opening import opened
from sweep.source import Progress


def run(sweep: Sweep, store: str = DEFAULT_URL, *, artifacts: str | None = None, use_ray: bool = False) -> Progress:
    """Run what the store does not have yet; a second time it runs nothing.

    Raises:
        SpecError: before any compute, for what cannot run.
    """
    place = place_of(sweep, store, artifacts)
    with opened(sweep, store, place, use_ray=use_ray) as (found, checked):
        return execute(sweep, found.patient(sweep.compute.outage), place, use_ray=use_ray, checked=checked)


def best(sweep: str, store: str = DEFAULT_URL, rule: str = "min_asr_within_delta") -> list[Winner]:
    """The winner of each defense, the best one first. Raises SpecError for an unknown sweep or rule."""
    with Store.open(store, create=False) as found:
        return winners(found.records(sweep), rule)
