"""Processes that are forks of one which has loaded libraries and done nothing: no thread, no GPU,
no model.

So torch is loaded once, its pages are shared however many there are, and a driver does without it.
"""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from sweep.execution import sockets
from sweep.execution.secrets import kept_from_children
from sweep.execution.stops import ENDING, GRACE, unheard
from sweep.execution.worker import die_with_the_driver
from trials.leaving import leaving
from trials.spec import SpecError

# what the check and a worker run, and what optimizers load when first used
PRELOADED = [
    "trials.run",
    "sweep.execution.preflight",
    "sweep.execution.worker_loop",
    "torch._dynamo",
]


def start(
    function: Callable[..., None], *given: Any
) -> tuple[ForkServerProcess, "Connection[Any, Any]"]:
    """Run ``function(pipe, *given)`` in a process that ends with this one; the other end of its
    pipe.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with kept_from_children():
        environment = dict(os.environ)
        with unheard():
            # else the next line would, and hear signals after it
            multiprocessing.resource_tracker.ensure_running()
        with sockets.near(), unheard():
            multiprocessing.forkserver.ensure_running()
    ours, theirs = context.Pipe()
    with _without_main([function, *given]):
        process = context.Process(
            target=_begin, args=(environment, function, theirs, given), daemon=True
        )
        try:
            process.start()
        except (EOFError, ConnectionError):
            raise _dead() from None
    theirs.close()  # else its end would stay open after its death
    return process, ours


def _dead() -> Exception:
    """What became of the process that others are forks of."""
    what = "the process that loads torch for the workers"
    with contextlib.suppress(AttributeError, ChildProcessError, TypeError):
        server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        how = os.WEXITED | os.WNOWAIT | os.WNOHANG  # left to be reaped by whoever started it
        last = time.monotonic() + GRACE
        while (ended := os.waitid(os.P_PID, server, how)) is None and time.monotonic() < last:
            time.sleep(0.05)
        if ended is None:
            return RuntimeError(f"{what} lives, but does not answer")
        if ended.si_code == os.CLD_EXITED:
            return RuntimeError(f"{what} ended with exit code {ended.si_status}")
        if ended.si_status != signal.SIGKILL:
            return RuntimeError(f"{what} was ended by signal {ended.si_status}")
    return MemoryError(f"{what} was killed, for want of memory most likely")


def ask(function: Callable[..., Any], *given: Any) -> Any:
    """What ``function(*given)`` returns in such a process.

    Raises:
        SpecError, OSError, MemoryError: as the function does; a MemoryError too where the system
            killed it.
        RuntimeError: it raised anything else, or ended by itself; with its traceback or exit code.
    """
    process, pipe = start(_answer, function, *given)
    try:
        how, what = pipe.recv()
    except (EOFError, OSError):
        process.join()
        if process.exitcode == -signal.SIGKILL:
            raise MemoryError(
                f"{function.__name__}: its process was killed, for want of memory most likely"
            ) from None
        raise RuntimeError(
            f"{function.__name__}: its process ended with exit code {process.exitcode}"
        ) from None
    finally:
        end(process)  # after Ctrl-C it is still at work
        pipe.close()
    if how == "raised":
        raise what
    if how == "failed":
        raise RuntimeError(f"{function.__name__} failed:\n{what}")
    return what


def end(*processes: ForkServerProcess) -> None:
    """End processes, kindly at first."""
    for process in processes:
        process.terminate()
    last = time.monotonic() + GRACE
    for process in processes:
        process.join(max(0.0, last - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _begin(
    environment: dict[str, str], function: Callable[..., None], pipe: Any, given: tuple[Any, ...]
) -> None:
    for number in ENDING:  # they are the driver's; it ends its workers, with the second
        signal.signal(number, _leave if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    die_with_the_driver()
    os.environ.clear()  # what it was forked from may have an older one
    os.environ |= environment
    function(pipe, *given)


def _leave(*_: object) -> None:
    """Leave off once the checkpoint of what runs is written; at once, removing what is half
    written, where none is.
    """
    end = SystemExit(1)
    if not leaving.ask(end):
        raise end


def _answer(pipe: "Connection[Any, Any]", function: Callable[..., Any], *given: Any) -> None:
    try:
        answer = "done", function(*given)
    except (SpecError, OSError, MemoryError) as problem:
        answer = "raised", problem
    except Exception:
        answer = "failed", traceback.format_exc()
    pipe.send(answer)


@contextlib.contextmanager
def _without_main(used: list[Any]) -> Iterator[None]:
    """Processes started in the block do not import the main module again, unless what they use was
    defined there.
    """
    main = sys.modules["__main__"]
    if not any("__main__" in (getattr(x, "__module__", ""), type(x).__module__) for x in used):
        sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
