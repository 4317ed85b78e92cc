"""Hostile input through the real command line: what must hold for every one of them, and how many
there were.
"""

import contextlib
import io
import os
import resource
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fences import lean, peak
from hypothesis import HealthCheck, settings

from sweep.cli import main

SECONDS = 300  # after which an input counts as one that hangs, on however busy a machine
ROOM = 4 * 2**30  # bytes that a subprocess may map
PEAK = 2 * 2**30  # bytes of memory that it, or a process that it starts, may have at a time
CONTAINED = "made the process that opened it fail"
TALLY: dict[str, Counter[str]] = defaultdict(Counter)
REPOSITORY = Path(__file__).parents[2]


def tries(number: int) -> Callable[[Any], Any]:
    """So many examples under Hypothesis's default profile; under another in proportion: 60 % under
    ``short``, ours.
    """
    share = settings.default.max_examples / 100  # type: ignore[union-attr]
    return settings(
        max_examples=max(1, round(number * share)),
        deadline=None,
        derandomize=share <= 1,  # CI tries the same inputs each time
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class Hung(BaseException):
    """No ``Exception``, so that nothing under test can swallow it."""


@contextlib.contextmanager
def bounded(seconds: int = SECONDS) -> Iterator[None]:
    def lease_lost(*_: object) -> None:
        raise Hung(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, lease_lost)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tallied(kind: str, what: Callable[[], str]) -> str:
    """Run one input; its verdict is counted, and a failed check of it as a crash."""
    try:
        with lean():
            verdict = what()
    except BaseException as problem:
        if type(problem).__name__ not in {"UnsatisfiedAssumption", "StopTest"}:
            TALLY[kind]["crashed"] += 1
        raise
    TALLY[kind][verdict] += 1
    return verdict


def command(kind: str, *args: object, past: str = "\0") -> tuple[str, str, str]:
    """Call the command line in this process; verdict, output and the one line of a refusal.

    A refusal that says ``past`` comes after the input under test was accepted.
    """
    out, err = io.StringIO(), io.StringIO()

    def call() -> str:
        code: object = None
        with bounded(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main([str(a) for a in args])
            except SystemExit as ended:
                code = ended.code
        verdict = judged(code, out.getvalue(), err.getvalue())
        return "accepted" if past in err.getvalue() else verdict

    return tallied(kind, call), out.getvalue(), err.getvalue()


def process(kind: str, *args: object, cwd: Path | None = None) -> tuple[str, str, str]:
    """Call the command line in a process of its own, with limits on memory and time."""
    limited = f'ulimit -v {ROOM >> 10}; ulimit -c 0; exec "$@"'
    words = ["bash", "-c", limited, "bash", sys.executable, "-m", "sweep.cli", *map(str, args)]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    said: list[str] = ["", ""]

    def call() -> str:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=env,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert (most := peak(resource.RUSAGE_CHILDREN)) <= PEAK, f"took {most >> 20} MiB of memory"
        said[:] = [text.decode(errors="surrogateescape") for text in (done.stdout, done.stderr)]
        return judged(done.returncode, *said)

    return tallied(kind, call), said[0], said[1]


def judged(code: object, out: str, err: str) -> str:
    """``accepted``, ``refused`` or, of a file that ended the process that opened it and no other,
    ``contained``.

    Anything else is a failed assertion.
    """
    assert code in (0, 2), (code, err[-2000:])
    assert "Traceback" not in err, err[-2000:]
    assert all(c.isprintable() for line in out.splitlines() for c in line.replace("\t", " ")), (
        "raw controls"
    )
    if code == 0:
        return "accepted"
    assert err.startswith("poisonsweep: "), err[:500]
    assert err.endswith("\n")
    assert err[:-1].isprintable(), err[:500]
    assert len(err) < 2200, len(err)
    return "contained" if CONTAINED in err else "refused"
