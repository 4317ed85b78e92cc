"""The way to a Ray cluster: a fresh one on this machine, or one that runs at an address."""

import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import ray_constants, utils

from sweep.execution import machine, sockets, stops
from sweep.execution.ray_tune import nodes
from sweep.execution.secrets import kept_from_children
from trials.spec import SpecError

_NO_CLUSTER = (
    "no Ray cluster answers at {!r}: start one with 'ray start --head', or leave --address out."
)


def connect(address: str | None, ship: bool) -> None:
    """Join the cluster at ``address``, or start one here.

    Raises SpecError with one line where none answers, or it is of another version or wants a token.
    """
    if address is not None:
        _knock(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:  # "local", as else Ray would join any cluster that it finds on this machine
        quiet |= {"address": "local", "include_dashboard": False, "num_cpus": machine.cores()}
        quiet |= {"_memory": machine.memory(), "_temp_dir": sockets.for_ray()}
    else:
        quiet |= {"address": address, "runtime_env": nodes.shipped() if ship else None}
    joins, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, address is not None
    # with that off Ray takes 127.0.0.1 for its own address, and so listens to this machine alone
    try:
        with kept_from_children(), _signals_left_alone():
            ray.init(**quiet)
    except ConnectionError as problem:  # address = "auto" and nothing there
        raise SpecError(_NO_CLUSTER.format(address)) from problem
    except RuntimeError as problem:
        if "ersion mismatch" not in str(problem):
            raise
        raise SpecError(
            f"{' '.join(str(problem).split())}. Install the same versions on every node."
        ) from problem
    except ray.exceptions.AuthenticationError as problem:
        raise SpecError(
            f"the Ray cluster at {address!r} wants its token: set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN or "
            "~/.ray/auth_token to what its head node has (docs/cluster.md)."
        ) from problem
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = joins
    for name in ("ray.tune", "ray.train", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _signals_left_alone() -> Iterator[None]:
    """Ray's processes do not hear that a terminal was closed, and Ray puts no handler in the place
    of ours.
    """
    usual = getattr(utils, "set_sigterm_handler", None)
    if usual and stops.are_heard():
        utils.set_sigterm_handler = lambda _: None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if usual:
            utils.set_sigterm_handler = usual
        stops.again()


def _knock(address: str) -> None:
    """Raises SpecError at once where nothing listens; Ray would try for minutes."""
    if address.startswith("ray://"):
        raise SpecError(
            "--address takes HOST:PORT or auto, not ray://: the store is written by the process "
            "that runs the sweep. "
            "Run it on a node of the cluster, or hand it in with 'ray job submit' "
            "(docs/cluster.md)."
        )
    host, _, port = address.rpartition("://")[2].split("/")[0].rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), 10).close()
    except (OSError, OverflowError) as problem:
        raise SpecError(_NO_CLUSTER.format(address)) from problem
