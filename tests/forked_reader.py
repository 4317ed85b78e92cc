"""Torch files are opened by the product's own program, in a process each, without loading torch for
each anew.

As a program: a request a line, as JSON; each is answered by a line of JSON and what the reader
wrote.
"""

import json
import os
import resource
import runpy
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
CPU_SECONDS = 20  # that the reader gives itself, and one for each 64 MiB allowed
SOON = 4  # seconds that it gets here, where it asks for those
ROOM = 2**30  # bytes that the reader may take, and three times what is allowed


class Reader:
    """Stands for ``trials.weights._unpack._reader``; the process started once is copied for each
    file.
    """

    def __init__(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        self._running = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
        )

    def __call__(self, file: Path, most: int) -> "subprocess.CompletedProcess[bytes]":
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        request = {
            "file": str(file.resolve()),
            "most": most,
            "cwd": str(Path.cwd()),
            "home": os.environ["HOME"],
        }
        self._running.stdin.write(json.dumps(request).encode() + b"\n")
        self._running.stdin.flush()
        said = json.loads(self._running.stdout.readline())
        written = self._running.stdout.read(said["bytes"])
        assert said["grown"] <= ROOM + 3 * most, f"the reader took {said['grown'] >> 20} MiB"
        return subprocess.CompletedProcess([], said["code"], written, b"")

    def close(self) -> None:
        self._running.communicate()


def _child(request: dict[str, Any], out: int) -> int:
    """The exit code of the program; a signal ends this process before."""
    from trials.weights import _unpack  # noqa: PLC0415

    os.chdir(request["cwd"])
    os.environ["HOME"] = request["home"]
    os.dup2(out, 1)
    set_limit = resource.setrlimit

    def sooner(what: int, limits: tuple[int, int]) -> None:
        assert what != resource.RLIMIT_CPU or limits[0] == CPU_SECONDS + (request["most"] >> 26)
        set_limit(what, (SOON, SOON) if what == resource.RLIMIT_CPU else limits)

    resource.setrlimit = sooner
    sys.argv = [_unpack.__file__, request["file"], str(request["most"])]
    try:
        runpy.run_path(_unpack.__file__, run_name="__main__")
        sys.stdout.flush()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # as Python ends a program
        return 1
    return 0


def _answered(request: dict[str, Any]) -> tuple[dict[str, int], bytes]:
    """The program's exit code or signal, how much its memory grew, and what it wrote."""
    mine, its = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            code = _child(request, its)
        finally:
            os._exit(code)
    os.close(its)
    with open(mine, "rb") as stream:  # noqa: PTH123 - a pipe has no path
        written = stream.read()
    _, status, used = os.wait4(child, 0)
    here = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf(
        "SC_PAGE_SIZE"
    )
    grown = used.ru_maxrss * 1024 - here
    return {
        "code": os.waitstatus_to_exitcode(status),
        "grown": grown,
        "bytes": len(written),
    }, written


def _main() -> None:
    import torch  # noqa: PLC0415

    from trials.weights import _unpack  # noqa: F401, PLC0415 - before the copies are made

    torch.set_num_threads(1)
    assert threading.active_count() == 1
    for text in sys.stdin:
        said, written = _answered(json.loads(text))
        sys.stdout.buffer.write(json.dumps(said).encode() + b"\n" + written)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
