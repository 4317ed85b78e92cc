"""Choose a backdoor defense and its hyperparameters by poisoning your own model.

What ``sweep`` gives, under the product's name; ``python -m poisonsweep`` is the command line::

    from poisonsweep import best, defend, filter, read, report, run, tune
"""

import importlib.metadata
from typing import TYPE_CHECKING, Any

import sweep

if TYPE_CHECKING:
    from sweep import (
        FilterOutcome,
        Outcome,
        Progress,
        Report,
        RunResult,
        Sweep,
        SweepResults,
        TuneResult,
        Winners,
        best,
        defend,
        filter,
        parse,
        read,
        report,
        run,
        tune,
    )

    __version__: str

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
    "__version__",
    "best",
    "defend",
    "filter",
    "parse",
    "read",
    "report",
    "run",
    "tune",
]


def __getattr__(name: str) -> Any:  # looked up when called for, as in sweep
    if name == "__version__":
        return importlib.metadata.version("poisonsweep")
    if name in sweep.__all__:
        return getattr(sweep, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
