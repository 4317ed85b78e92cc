"""What Ray starts its workers and its own five helpers with here: each is a fork of a process of
warm.py.

Ray's own script runs in that fork, with the words, folder, environment and streams that it was
given. A worker with code that is sent or another Python is started as ever, and so is one where
that process does not answer, as where ADDRESS is not set."""

import array
import importlib.abc
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ADDRESS = "POISONSWEEP_TEST_FORKS"  # the folder of the sockets at which forks are asked for
WORKERS, HELPERS = "workers", "helpers"
WORKER = "_private/workers/default_worker.py"
AGENTS = (
    "dashboard/agent.py",
    "_private/runtime_env/agent/main.py",
)  # a node starts these two, a driver the others
SCRIPTS = (
    *AGENTS,
    "dashboard/dashboard.py",
    "_private/log_monitor.py",
    "autoscaler/_private/monitor.py",
)
LOADED = [f"ray.{script.removesuffix('.py').replace('/', '.')}" for script in SCRIPTS]
NETWORK = "/proc/self/ns/net"  # a fork joins the network of whoever asks for it
CONTEXT = "--serialized-runtime-env-context="


def install() -> None:
    """From now on what this process starts as a Ray starts its workers and helpers with this file."""
    if "ray" in sys.modules:
        _patch()
    elif not any(isinstance(finder, _WhenRayIsLoaded) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenRayIsLoaded())


def _patch() -> None:
    from ray._private import ray_constants, services  # noqa: PLC0415

    if __file__ == ray_constants.SETUP_WORKER_FILENAME:
        return
    ray_constants.SETUP_WORKER_FILENAME = __file__
    usual = services.start_ray_process
    helpers = [f"{Path(services.RAY_PATH) / name}" for name in SCRIPTS]

    def led(words: list[str]) -> Iterator[str]:
        for word in words:
            if word in helpers:
                yield __file__
            for helper in helpers:  # the node is told as one word how to start an agent
                word = word.replace(f" {helper} ", f" {__file__} {helper} ")  # noqa: PLW2901
            yield word

    services.start_ray_process = lambda words, *args, **extra: usual([*led(words)], *args, **extra)


class _WhenRayIsLoaded(importlib.abc.MetaPathFinder):
    """Finds nothing, but sees when the module is looked for that starts Ray's processes."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == "ray._private.node":
            sys.meta_path.remove(self)
            _patch()


def prepare(words: list[str]) -> None:
    """Let a fork that is to be a helper of Ray's read its environment, which Ray had done before."""
    if words[0].endswith(SCRIPTS):
        from ray._private import ray_constants  # noqa: PLC0415
        from ray._raylet import AuthenticationTokenLoader, Config  # noqa: PLC0415
        from ray.dashboard import consts  # noqa: PLC0415

        importlib.reload(ray_constants)
        importlib.reload(consts)
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


def plain(words: list[str]) -> tuple[list[str], dict[str, str]] | None:
    """Ray's script with its words, and variables to set; None where it is to be more than another
    process.
    """
    left = [w for w in words if not w.startswith(("--language=", CONTEXT))]
    context = json.loads(
        next((w.removeprefix(CONTEXT) for w in words if w.startswith(CONTEXT)), "") or "{}"
    )
    extra = context.get("command_prefix") or context.get("override_worker_entrypoint")
    other = context.get("py_executable", sys.executable) != sys.executable
    variables: dict[str, str] = context.get("env_vars") or {}
    known = left[0].endswith((WORKER, *SCRIPTS))
    return None if extra or other or "PYTHONPATH" in variables or not known else (left, variables)


def fork(at: str, words: list[str], environment: Mapping[str, str]) -> None:
    """Live as long as a fork of the process of warm.py, which has the streams, folder and network
    of this process.

    Raises:
        ConnectionError, FileNotFoundError: that process does not answer.
        KeyError: nobody said where.
    """
    with socket.socket(socket.AF_UNIX) as to:
        to.connect(f"{os.environ[ADDRESS]}/{at}")
        request = {"words": words, "cwd": str(Path.cwd()), "env": dict(environment)}
        send(to, json.dumps(request), [0, 1, 2, os.open(NETWORK, os.O_RDONLY)])
        to.recv(1)  # nothing comes: the fork has ended


def send(to: socket.socket, text: str, fds: list[int]) -> None:
    """A text, and open files with it."""
    data = text.encode()
    to.sendmsg(
        [f"{len(data):8}".encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    )
    to.sendall(data)


def main() -> None:
    words = sys.argv[1:]
    asked = plain(words)
    try:
        if asked is None:
            raise ConnectionError
        fork(
            HELPERS if words[0].endswith(SCRIPTS) else WORKERS, asked[0], {**os.environ, **asked[1]}
        )
    except (KeyError, OSError):
        if words[0].endswith(SCRIPTS):
            os.execv(sys.executable, [sys.executable, "-u", *words])
        (ray,) = importlib.util.find_spec("ray").submodule_search_locations  # type: ignore[union-attr, misc]
        usual = Path(ray) / "_private" / "workers" / "setup_worker.py"
        os.execv(sys.executable, [sys.executable, str(usual), *words])


if __name__ == "__main__":
    main()
