"""Tune's trials that have ended: let go of. Tune keeps each until the end of the run, some 60 KiB of memory."""

from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

_ENDED = ("_stopped_trials", "_failed_trials")  # sets of trials, private to Tune's controller
_TOLD = ("_trials", "_trials_to_cache", "_trial_metadata", "_trial_to_actor")
MOST = 100  # ended trials that are kept, for a look at all of them takes a while


def forget(controller: Any) -> None:
    """Drop ended trials from a controller's lists, once there are ``MOST``; to be called as one ends, which stays.

    The snapshot that Tune writes at the end of a run, and its list of results, are of what is left; we read neither.
    With a Ray whose controller keeps its trials otherwise nothing changes.
    """
    if not all(hasattr(controller, name) for name in _ENDED + _TOLD):
        return
    ended = [getattr(controller, name) for name in _ENDED]
    if sum(map(len, ended)) < MOST:
        return
    gone = {trial for some in ended for trial in some if trial not in controller._trial_to_actor}
    controller._trials[:] = [trial for trial in controller._trials if trial not in gone]
    for some in (*ended, controller._trials_to_cache):
        some.difference_update(gone)
    for trial in gone:
        controller._trial_metadata.pop(trial.trial_id, None)


class Silent(TrialProgressCallback):
    """In the place of Tune's own printer of progress, which keeps every trial; our progress comes from the source."""

    def on_trial_result(self, *_: Any, **__: Any) -> None:
        """Nothing to print."""

    def on_trial_error(self, *_: Any, **__: Any) -> None:
        """Nothing to print."""

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Nothing to print."""
