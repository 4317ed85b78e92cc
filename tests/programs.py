"""Programs of this project as a user starts them, each in a process group of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO


class Program(subprocess.Popen[bytes]):
    """``python WORDS``; ``-m MODULE``, ``-c CODE`` or a file first, as for Python.

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

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:  # type: ignore[override]
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
        for number in self._said:
            os.close(number)
        return out, err
