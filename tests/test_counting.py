"""How long the tests of one kind ran, from what pytest reports."""

from types import SimpleNamespace
from typing import Any

from counting import spent


def report(start: float, stop: float, *marks: str) -> Any:
    return SimpleNamespace(
        start=start, stop=stop, keywords={"test_x": 1, **dict.fromkeys(marks, 1)}
    )


def test_time_in_which_several_ran_counts_once() -> None:
    reports = [
        report(0, 10, "chaos"),
        report(5, 12, "fuzz"),
        report(20, 21, "chaos", "ray"),
        report(0, 99, "slow"),
    ]
    terminal = SimpleNamespace(
        stats={"passed": reports[:2], "": reports[2:], "warnings": [SimpleNamespace()]}
    )
    assert spent(terminal) == (18, 13)


def test_nothing_ran() -> None:
    assert spent(SimpleNamespace(stats={"passed": [report(0, 99, "slow")]})) == (0, 0)
