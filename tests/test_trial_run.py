"""A trial that runs is iterated for its points, and has its record at its end."""

from collections.abc import Generator

import pytest

from trials.spec import Point
from trials.trial_run import Steps


def _three() -> Generator[Point, None, str]:
    for step in range(3):
        yield Point(step, 0.9, 0.5)
    return "ended"


def test_the_result_is_there_after_the_last_point() -> None:
    steps = Steps(_three())
    for point in steps:
        if point.step == 1:
            with pytest.raises(RuntimeError, match="not come to its end"):
                _ = steps.result
    assert steps.result == "ended"
    assert not list(steps)
    assert steps.result == "ended"


def test_one_that_is_closed_has_no_result() -> None:
    steps = Steps(_three())
    assert next(steps).step == 0
    steps.close()
    assert not list(steps)
    with pytest.raises(RuntimeError, match="not come to its end"):
        _ = steps.result


def test_one_that_raised_has_no_result() -> None:
    def broken() -> Generator[Point, None, str]:
        yield Point(0, 0.9, 0.5)
        raise ZeroDivisionError

    steps = Steps(broken())
    with pytest.raises(ZeroDivisionError):
        list(steps)
    assert not list(steps)
    with pytest.raises(RuntimeError, match="not come to its end"):
        _ = steps.result
