"""Programs of this project that start at once: forks of a process that has loaded its libraries and
done nothing.

A driver, the process that its workers are forks of and each worker of a Ray would load torch again
for every sweep that a test starts; here they are such forks, with signals and files of their own,
and so are Ray's helpers and the processes of xdist. They share what a process draws when it begins,
as the seeds of string hashes and of numpy's global numbers, so test_what_is_counted.py compares
with a sweep that was started as users do."""

import atexit
import contextlib
import ctypes
import functools
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import warm_ray

ROOT = Path(__file__).parents[1]
MORE = [
    "sweep.cli.app",
    "sweep.cli.views",
    "alembic.command",
    "psycopg",
]  # what drivers load when they need it
MORE += ["pandas", "pyarrow", "pydoc", "jsonschema", "requests", "yaml"]  # what Ray loads
MORE += [
    "torchvision",
    "scipy.stats",
    "sklearn.metrics",
    "optuna",
    "plotly.graph_objects",
    "moocore",
    "jinja2",
]
MORE += [
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip",
]  # what tests load
PROGRAMS = "programs"
NAMES = (
    PROGRAMS,
    warm_ray.WORKERS,
    warm_ray.HELPERS,
)  # of the sockets at which forks are asked for
HIGH = 500  # descriptors from here on are out of everybody's way


class Program:
    """``python WORDS`` in a session of its own; ``-m MODULE``, ``-c CODE`` or a file first, as for
    Python.

    Args:
        output: file for what it says on both streams; left out, ``communicate`` has the two.
    """

    def __init__(
        self, words: list[str], cwd: Path, env: Mapping[str, str], output: BinaryIO | None = None
    ) -> None:
        self._out: Any = output or tempfile.TemporaryFile()  # noqa: SIM115
        self._err: Any = output or tempfile.TemporaryFile()  # noqa: SIM115
        self._own, self._said = output is None, list[str]()
        told, tell = os.pipe()
        folder = start()
        request = {"words": words, "cwd": str(cwd), "env": {**env, warm_ray.ADDRESS: folder}}
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(f"{folder}/{PROGRAMS}")
                warm_ray.send(
                    server, json.dumps(request), [tell, self._out.fileno(), self._err.fileno()]
                )
        finally:
            os.close(tell)
        self._told = os.fdopen(told, "rb", buffering=0)
        self.pid = int(self._told.read(8))
        self.returncode: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        status = self._told.read(8)  # nothing, where somebody killed the one that waits for it
        self._told.close()
        if self._own:
            for stream in (self._out, self._err):
                stream.seek(0)
                self._said.append(stream.read().decode())
                stream.close()
        self.returncode = os.waitstatus_to_exitcode(int(status)) if status else -signal.SIGKILL
        self._ended.set()

    def poll(self) -> int | None:
        return self.returncode if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it said, when it has ended."""
        self.wait(timeout)
        out, err = self._said
        return out, err

    def send_signal(self, number: int) -> None:
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def start() -> str:
    """The folder of the sockets of the server, which ends with the process that started it:
    pytest's first.
    """
    if given := os.environ.get(warm_ray.ADDRESS):
        return given
    ours, theirs = socket.socketpair()
    folder = tempfile.mkdtemp()
    listening = [socket.socket(socket.AF_UNIX) for _ in NAMES]
    for at, name in zip(listening, NAMES, strict=True):
        at.bind(f"{folder}/{name}")
        at.listen(64)
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "POISONSWEEP_"))
    }
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment |= {
        "JE_ARROW_MALLOC_CONF": "background_thread:false"
    }  # a thread would not be there in a fork
    nowhere, given_on = subprocess.DEVNULL, [theirs.fileno(), *(at.fileno() for at in listening)]
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), *map(str, given_on)],
        stdin=nowhere,
        stdout=nowhere,
        pass_fds=given_on,
        env=environment,
        start_new_session=True,
    )
    for at in (theirs, *listening):
        at.close()
    os.environ[warm_ray.ADDRESS] = folder

    def close() -> None:
        ours.close()
        process.wait()

    atexit.register(close)
    return folder


def ray_workers() -> None:
    """From now on what this process starts as a Ray has workers and helpers that are forks too."""
    start()
    warm_ray.install()


def _serve(*given: int) -> None:
    """Fork a program for each request, and what is asked for in place of a worker of Ray's or a
    process of xdist's.
    """
    from sweep.execution.forkserver import PRELOADED  # noqa: PLC0415

    for module in (*PRELOADED, *MORE):
        __import__(module)
    gc.freeze()  # else each program would look through all of this, and so copy it
    assert len(list(Path("/proc/self/task").iterdir())) == 1, (
        "a thread runs, so that forks are not safe"
    )
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    life, programs, workers, helpers = mine = [socket.socket(fileno=number) for number in given]
    if os.fork() == 0:
        for other in (life, programs, workers):
            other.close()
        _serve_helpers(helpers)
    helpers.close()
    while life not in (ready := select.select(mine[:3], [], [])[0]):
        if workers in ready:
            _fork_in_place(workers, life, programs)
        if programs in ready:
            _fork_a_program(programs, life, workers)
    shutil.rmtree(Path(programs.getsockname()).parent, ignore_errors=True)
    os._exit(0)


def _fork_a_program(asked_at: socket.socket, *others: socket.socket) -> None:
    """``tell`` hears of its number, and at its end of its status."""
    connection, _ = asked_at.accept()
    heard = _receive(connection)
    connection.close()
    if heard is None:
        return
    tell, out, err = heard[1]
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for listening in (asked_at, *others):
            listening.close()
        program = os.fork()
        if program == 0:
            os.setsid()
            os.write(tell, f"{os.getpid():8}".encode())
            os.close(tell)
            _end(functools.partial(_become, out, err, _prepare_a_driver, **json.loads(heard[0])))
        _only([tell])
        os.write(tell, f"{os.waitpid(program, 0)[1]:8}".encode())
        os._exit(0)
    for number in (tell, out, err):
        os.close(number)


def _serve_helpers(helpers: socket.socket) -> NoReturn:
    """Fork each helper that a Ray asks for from a process that has loaded Ray; a worker's may not
    have, as Ray reads from the environment whose worker it is while it is loaded."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # when the process ends that this is a fork of
    select.select([helpers], [], [])
    for module in warm_ray.LOADED:
        __import__(module)
    gc.freeze()
    assert len(list(Path("/proc/self/task").iterdir())) == 1, (
        "a thread of Ray's runs, so that forks are not safe"
    )
    while True:
        _fork_in_place(helpers)


def _fork_in_place(asked_at: socket.socket, *others: socket.socket) -> None:
    """A fork in place of the process that asks, which lives as long: it ends when the connection is
    closed.
    """
    connection, _ = asked_at.accept()
    heard = _receive(connection)
    gone = bool(
        select.select([connection], [], [], 0)[0]
    )  # nothing else comes: a Ray that was killed meanwhile
    if heard is not None and not gone and os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()  # Ray ends a worker with its process group
        for listening in (asked_at, *others):
            listening.close()
        threading.Thread(target=_die_with, args=(connection,), daemon=True).start()
        program, (given, out, err, network) = json.loads(heard[0]), heard[1]
        os.dup2(given, 0)
        if not os.path.sameopenfile(network, here := os.open(warm_ray.NETWORK, os.O_RDONLY)):
            assert ctypes.CDLL(None).setns(network, 0) == 0, (
                "not allowed into the network namespace of a Ray"
            )
        for number in (given, network, here):
            os.close(number)
        _end(
            functools.partial(
                _become, out, err, functools.partial(warm_ray.prepare, program["words"]), **program
            )
        )
    connection.close()
    for number in heard[1] if heard else []:
        os.close(number)


def _die_with(connection: socket.socket) -> None:
    """End this fork when the process is gone in whose place it is."""
    connection.recv(1)
    os.killpg(0, signal.SIGKILL)


def _become(
    out: int, err: int, prepare: Callable[[], None], words: list[str], cwd: str, env: dict[str, str]
) -> None:
    """Run a program in this process as if Python had been started with it."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(cwd)
    os.environ.clear()
    os.environ |= env
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.orig_argv[:] = [sys.executable, *words]
    sys.path[:] = [p for p in sys.path if p != str(Path(__file__).parent)]
    prepare()
    sys.path[:0] = [
        p for p in env.get("PYTHONPATH", "").split(os.pathsep) if p and p not in sys.path
    ]
    match words:
        case ["-m", module, *_]:
            sys.argv = words[1:]
            sys.path.insert(0, cwd)
            sys.modules.pop(module, None)  # it is run again, as a program
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *_]:
            sys.argv = ["-c", *words[2:]]
            sys.path.insert(0, cwd)
            sys.modules["__main__"] = types.ModuleType("__main__")
            exec(code, sys.modules["__main__"].__dict__)
        case _:
            sys.argv = words
            sys.path.insert(0, str(Path(words[0]).parent))
            runpy.run_path(words[0], run_name="__main__")


def _end(program: Callable[[], None]) -> NoReturn:
    """Run it and end as Python does, but for taking all modules apart."""
    code = 0
    try:
        program()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # waits for its threads
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _prepare_a_driver() -> None:
    """What ``multiprocessing`` starts as its fork server is a fork of this process as it is now;
    Ray's workers too.
    """
    warm_ray.install()
    from multiprocessing import util  # noqa: PLC0415

    ours, theirs = socket.socketpair()
    waiting = os.fork()
    if waiting == 0:
        ours.close()
        heard = _receive(theirs)
        if heard is None:
            os._exit(0)
        code, given = heard
        _only([0, 1, 2, *given])
        wanted = json.loads(code)
        moved = [os.dup2(number, HIGH + i) for i, number in enumerate(given)]
        _only([0, 1, 2, *moved])
        for number, fd in zip(wanted["fds"], moved, strict=True):
            os.dup2(fd, number)
            os.close(fd)
        sys.argv = ["-c"]
        signal.pthread_sigmask(
            signal.SIG_SETMASK, wanted["mask"]
        )  # as what is started has it of who starts it
        exec(wanted["code"], {"__name__": "__main__"})
        os._exit(0)
    theirs.close()
    usual = util.spawnv_passfds

    def spawnv_passfds(path: Any, words: list[Any], fds: list[int]) -> int:
        if "multiprocessing.forkserver" not in str(words[-1]) or ours.fileno() < 0:
            return usual(path, words, fds)
        mask = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
        warm_ray.send(
            ours, json.dumps({"code": words[-1], "fds": list(fds), "mask": mask}), list(fds)
        )
        ours.close()  # one only: where a fork server died, the next one is started as ever
        return waiting

    util.spawnv_passfds = spawnv_passfds


def _only(kept: list[int]) -> None:
    """Close every other descriptor."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(entry.name))


def _receive(at: socket.socket) -> tuple[str, list[int]] | None:
    head, fds, _, _ = socket.recv_fds(at, 8, 8)
    if not head:
        return None
    data, size = b"", int(head)
    while len(data) < size and (extra := at.recv(size - len(data))):
        data += extra
    return data.decode(), fds


if __name__ == "__main__":
    _serve(*map(int, sys.argv[1:]))
