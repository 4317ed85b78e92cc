"""What xdist starts its processes with here: each is a fork of the process of warm.py, which has what tests load."""

import os
import sys

import warm_ray

if __name__ == "__main__":
    try:
        warm_ray.fork(warm_ray.WORKERS, sys.argv[sys.argv.index("-c") :], os.environ)
    except (KeyError, OSError):
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
