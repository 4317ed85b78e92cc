"""Ray Tune as the executor. Every private name of Ray is used in this package and nowhere else.

``executor`` starts Tune, ``connection`` a Ray or the way to one, ``searcher`` hands Tune the
trials of our scheduler, and ``warm_runner`` runs them, one after the other, in a Ray actor.
"""

import os

os.environ |= {  # read by Ray when it is imported; the store keeps what Tune would write
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "3600",
    # with fewer, a worker that is starting loses its trial to one that is free
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # else Tune itself starts the trials of a node that was taken away
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # its own is not heard while we wait for other drivers
}
