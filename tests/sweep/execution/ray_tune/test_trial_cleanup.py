"""What is dropped from Tune's lists of trials, and when; test_ray.py shows that it is of use."""

from types import SimpleNamespace
from typing import Any

import pytest

from sweep.execution.ray_tune import trial_cleanup


def controller(stopped: int, failed: int) -> tuple[Any, list[Any]]:
    """Lists like those of Tune's controller, with one trial that runs, the last, after all that
    have ended.
    """
    some = [_Trial(str(i)) for i in range(stopped + failed + 1)]
    lists = {
        "_trials": list(some),
        "_stopped_trials": set(some[:stopped]),
        "_failed_trials": set(some[stopped:-1]),
        "_live_trials": set(some[stopped:]),  # Tune leaves those that failed in
        "_resetting_trials": set(some[-2:]),
        "_trials_to_cache": set(some),
        "_trial_metadata": {trial.trial_id: "" for trial in some},
    }
    return SimpleNamespace(**lists), some


class _Trial:
    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_cleanup, "MOST", 4)


def kept(held: Any) -> set[str]:
    """Ids of the trials that something still holds."""
    sets = [getattr(held, name) for name in vars(held) if name != "_trial_metadata"]
    return {trial.trial_id for some in sets for trial in some} | set(held._trial_metadata)


def test_few_stay() -> None:
    held, some = controller(2, 1)
    trial_cleanup.forget(held, some[-1])
    assert len(held._trials) == len(kept(held)) == 4


def test_many_go_and_the_one_that_ends_stays() -> None:
    held, some = controller(3, 2)
    trials = held._trials
    trial_cleanup.forget(held, some[-1])
    assert trials == some[-1:]  # the list that Tune hands to others is the same
    assert kept(held) == {some[-1].trial_id}


def test_one_that_ends_by_an_error_stays_though_it_is_counted_as_failed() -> None:
    held, some = controller(3, 2)
    trial_cleanup.forget(held, some[-2])
    assert held._trials == some[-2:]
    assert held._failed_trials == {some[-2]}


def test_another_tune_keeps_its_lists() -> None:
    held, some = controller(3, 2)
    held._live_trials = list(held._live_trials)
    trial_cleanup.forget(held, some[-1])
    assert held._trials == some
    trial_cleanup.forget(object(), None)
