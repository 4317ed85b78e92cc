"""Plans a sweep, runs its trials here or on a Ray cluster, and the command line.

The same in Python as on the command line::

    from sweep import best, defend, read, run

    sweep = read("examples/digits.toml")
    run(sweep, store="runs/poisonsweep.db")
    for winner in best(sweep.name, store="runs/poisonsweep.db"):
        print(winner.defense, winner.eta, winner.cda_loss, dict(winner.method.params))

    outcome = defend(model, dataset)  # a module and a torch Dataset, or a file and a folder
    print(outcome.verdict, outcome.winners)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.report.sweep_results import FilterOutcome, Outcome, Report, SweepResults, Winners
    from sweep.api import RunResult, best, report, run
    from sweep.commands.calls import TuneResult, defend, tune
    from sweep.commands.filter_call import filter
    from sweep.execution.progress import Progress
    from sweep.spec.sweep_file import Sweep, parse, read

__all__ = [
    "FilterOutcome",
    "Outcome",
    "Progress",
    "Report",
    "RunResult",
    "Sweep",
    "SweepResults",
    "TuneResult",
    "Winners",
    "best",
    "defend",
    "filter",
    "parse",
    "read",
    "report",
    "run",
    "tune",
]

# looked up when called for: a worker needs none of it, and defending loads torch, plotly and pandas
_FROM = {
    "best": "sweep.api",
    "report": "sweep.api",
    "run": "sweep.api",
    "RunResult": "sweep.api",
    "FilterOutcome": "results.report.sweep_results",
    "Outcome": "results.report.sweep_results",
    "Report": "results.report.sweep_results",
    "SweepResults": "results.report.sweep_results",
    "Winners": "results.report.sweep_results",
    "Sweep": "sweep.spec.sweep_file",
    "parse": "sweep.spec.sweep_file",
    "read": "sweep.spec.sweep_file",
    "defend": "sweep.commands.calls",
    "tune": "sweep.commands.calls",
    "filter": "sweep.commands.filter_call",
    "TuneResult": "sweep.commands.calls",
    "Progress": "sweep.execution.progress",
}


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
