"""Forget Tune's trials that have ended.

Tune keeps each until the end of the run, some 60 KiB of memory.
"""

from itertools import chain
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

MOST = 100  # ended trials that are kept, for a look at all of them takes a while
_ENDED = ("_stopped_trials", "_failed_trials")  # these and the next: private to Tune's controller
_SETS = (*_ENDED, "_live_trials", "_resetting_trials", "_trials_to_cache")
_NEEDED = {"_trials": list, "_trial_metadata": dict, **dict.fromkeys(_SETS, set)}


def forget(controller: Any, last: Any) -> None:
    """Drop ended trials from a controller's lists, once there are ``MOST``.

    The snapshot that Tune writes at the end of a run, and its list of results, are of what is left;
    we read neither. With a Ray whose controller keeps its trials otherwise nothing changes.

    Args:
        controller: Tune's.
        last: the trial that ends now; it stays.
    """
    if not all(isinstance(getattr(controller, name, None), kind) for name, kind in _NEEDED.items()):
        return
    ended = chain.from_iterable(getattr(controller, name) for name in _ENDED)
    gone = {trial for trial in ended if trial is not last}
    if len(gone) < MOST:
        return
    controller._trials[:] = [trial for trial in controller._trials if trial not in gone]
    for name in _SETS:
        getattr(controller, name).difference_update(gone)
    for trial in gone:
        controller._trial_metadata.pop(trial.trial_id, None)


class Silent(TrialProgressCallback):
    """Replaces Tune's own printer of progress, which keeps every trial in memory; what we print
    comes from the scheduler.
    """

    def on_trial_result(self, *_: Any, **__: Any) -> None:
        """Nothing to print."""

    def on_trial_error(self, *_: Any, **__: Any) -> None:
        """Nothing to print."""

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Nothing to print."""
