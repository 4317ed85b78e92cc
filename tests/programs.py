"""Programs of this project as a user starts them, each in a process group of its own."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

HANGS = 600  # seconds after which a program counts as one that hangs, on however slow a machine
_started: list["subprocess.Popen[bytes]"] = []  # by the test that runs


def ended_with_test(process: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
    """The same process, which will not outlive its test, not even one that fails."""
    _started.append(process)
    return process


def end_all() -> None:
    """Kill what still runs of what the test started, with what these started in turn."""
    while _started:
        process = _started.pop()
        if isinstance(process, Program):  # which leads a group
            with contextlib.suppress(ProcessLookupError, PermissionError):  # all of it has ended
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        if isinstance(process, Program):
            process.close()


class Program(subprocess.Popen[bytes]):
    """``python WORDS``; ``-m MODULE``, ``-c CODE`` or a file first, as for Python. Ends with its
    test at the latest.

    Args:
        output: file for what it says on both streams; left out, ``communicate`` has the two.
    """

    def __init__(
        self, words: list[str], cwd: Path, env: Mapping[str, str], output: BinaryIO | None = None
    ) -> None:
        # a pipe may fill up
        self._said = [] if output else [os.memfd_create(name) for name in ("out", "err")]
        out, err = self._said or (output, output)
        super().__init__(
            [sys.executable, *words],
            cwd=cwd,
            env=env,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        ended_with_test(self)

    def communicate(  # type: ignore[override]
        self, timeout: float | None = HANGS
    ) -> tuple[str, str]:
        """What it said, when it has ended.

        Raises:
            subprocess.TimeoutExpired: it ran for more than ``timeout`` seconds, and was killed with
                what it had started.
        """
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
            raise
        out, err = (
            Path(f"/proc/self/fd/{number}").read_text(encoding="utf-8") for number in self._said
        )
        self.close()
        return out, err

    def close(self) -> None:
        """Let go of what it said."""
        while self._said:
            os.close(self._said.pop())
