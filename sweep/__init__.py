"""The roof: plans a sweep, runs its trials here or on a Ray cluster, and the command line.

The same in Python as on the command line::

    from sweep import best, defend, read, run

    sweep = read("examples/digits.toml")
    run(sweep, store="runs/poisonsweep.db")
    for winner in best(sweep.name, store="runs/poisonsweep.db"):
        print(winner.defense, winner.eta, winner.cda_loss, dict(winner.choice.params))

    defend("model.safetensors", "resnet18:width=16", "trusted/", "repaired/")
"""

from typing import TYPE_CHECKING, Any

from results.selection import Winner, winners
from results.store import DEFAULT_URL, Store
from sweep.config import Sweep, parse, read
from sweep.engine import execute, place_of
from sweep.source import Progress

if TYPE_CHECKING:
    from sweep.defending import defend

__all__ = ["Progress", "Sweep", "best", "defend", "parse", "read", "run"]


def run(sweep: Sweep, store: str = DEFAULT_URL, *, artifacts: str | None = None, use_ray: bool = False) -> Progress:
    """Run what the store does not have yet; a second time it runs nothing.

    Raises:
        SpecError: before any compute, for what cannot run.
    """
    with Store.open(store) as opened:
        patient = opened.patient(sweep.compute.outage)
        return execute(sweep, patient, place_of(sweep, store, artifacts), use_ray=use_ray)


def best(sweep: str, store: str = DEFAULT_URL, rule: str = "min_asr_within_delta") -> list[Winner]:
    """The winner of each defense, the best one first. Raises SpecError for an unknown sweep or rule."""
    with Store.open(store, create=False) as opened:
        return winners(opened.records(sweep), rule)


def __getattr__(name: str) -> Any:
    if name == "defend":  # loads torch, plotly and pandas, which the other names do not need
        from sweep.defending import defend  # noqa: PLC0415

        return defend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
