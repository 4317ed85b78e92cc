"""What xdist starts its processes with here: each is a fork of the process of warm.py, which has
what tests load.
"""

import os
import signal
import sys

import warm_ray

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fork is told by xdist, and tidies up
    try:
        warm_ray.fork(warm_ray.WORKERS, sys.argv[sys.argv.index("-c") :], os.environ)
    except (KeyError, OSError):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
