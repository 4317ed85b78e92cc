"""Plans a sweep, runs its trials here or on a Ray cluster, and the command line.

The same in Python as on the command line::

    from sweep import best, defend, read, run

    sweep = read("examples/digits.toml")
    run(sweep, store="runs/poisonsweep.db")
    for winner in best(sweep.name, store="runs/poisonsweep.db"):
        print(winner.defense, winner.eta, winner.cda_loss, dict(winner.method.params))

    defend("model.safetensors", "resnet18:width=16", "trusted/", "repaired/")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweep.api import best, run
    from sweep.commands.defend import defend
    from sweep.execution.progress import Progress
    from sweep.spec.sweep_file import Sweep, parse, read

__all__ = ["Progress", "Sweep", "best", "defend", "parse", "read", "run"]

# looked up when called for: a worker needs none of it, and defending loads torch, plotly and pandas
_FROM = {
    "best": "sweep.api",
    "run": "sweep.api",
    "Sweep": "sweep.spec.sweep_file",
    "parse": "sweep.spec.sweep_file",
    "read": "sweep.spec.sweep_file",
    "defend": "sweep.commands.defend",
    "Progress": "sweep.execution.progress",
}


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
