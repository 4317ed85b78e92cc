"""Figures that tests count, whichever process ran them."""

from typing import Any


def counted(terminalreporter: Any, what: str) -> list[Any]:
    """The user properties of this name, of all tests that ran, in the order of their ends."""
    ended = [r for some in terminalreporter.stats.values() for r in some if getattr(r, "when", "") == "teardown"]
    return [value for report in ended for name, value in report.user_properties if name == what]
