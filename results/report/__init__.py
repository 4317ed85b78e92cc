"""The report: one self-contained page, the answer first, then the evidence."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.report.page import render, write

__all__ = ["render", "write"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # looked up when called for: the page loads plotly and pandas
        return getattr(importlib.import_module("results.report.page"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
