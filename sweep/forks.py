"""Processes that are forks of one which has loaded libraries and done nothing: no thread, no GPU, no model.

So torch is loaded once, its pages are shared however many there are, and a driver does without it.
"""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from sweep import sockets
from sweep.secrets import kept_from_children
from sweep.worker import die_with_the_driver
from trials.spec import SpecError

# what the check and a worker run, and what optimizers load when first used
PRELOADED = ["trials.run", "sweep.check", "sweep.serving", "torch._dynamo"]
TIDY = 5.0  # seconds in which a process that is not wanted any more may put things in order


def start(function: Callable[..., None], *given: Any) -> tuple[ForkServerProcess, "Connection[Any, Any]"]:
    """Run ``function(pipe, *given)`` in a process that ends with this one; the other end of its pipe."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with kept_from_children():
        environment = dict(os.environ)
        with sockets.near(), _ctrl_c_blocked():  # while it loads it would take a Ctrl-C for its own
            multiprocessing.forkserver.ensure_running()
    ours, theirs = context.Pipe()
    with _without_main([function, *given]):
        process = context.Process(target=_begin, args=(environment, function, theirs, given), daemon=True)
        process.start()
    theirs.close()  # else its end would stay open after its death
    return process, ours


def ask(function: Callable[..., Any], *given: Any) -> Any:
    """What ``function(*given)`` returns in such a process.

    Raises:
        SpecError, OSError, MemoryError: as the function does; a MemoryError too where the system killed it.
        RuntimeError: it raised anything else, or ended by itself; with its traceback or exit code.
    """
    process, pipe = start(_answer, function, *given)
    try:
        how, what = pipe.recv()
    except (EOFError, OSError):
        process.join()
        if process.exitcode == -signal.SIGKILL:
            raise MemoryError(f"{function.__name__}: its process was killed, for want of memory most likely") from None
        raise RuntimeError(f"{function.__name__}: its process ended with exit code {process.exitcode}") from None
    finally:
        end(process)  # after Ctrl-C it is still at work
        pipe.close()
    if how == "raised":
        raise what
    if how == "failed":
        raise RuntimeError(f"{function.__name__} failed:\n{what}")
    return what


def end(process: ForkServerProcess) -> None:
    """End a process, kindly at first."""
    process.terminate()
    process.join(TIDY)
    if process.is_alive():
        process.kill()
        process.join()


def _begin(environment: dict[str, str], function: Callable[..., None], pipe: Any, given: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's; it ends its workers
    die_with_the_driver()
    os.environ.clear()  # what it was forked from may have an older one
    os.environ |= environment
    function(pipe, *given)


def _answer(pipe: "Connection[Any, Any]", function: Callable[..., Any], *given: Any) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that half-written files are removed
    try:
        answer = "done", function(*given)
    except (SpecError, OSError, MemoryError) as problem:
        answer = "raised", problem
    except Exception:
        answer = "failed", traceback.format_exc()
    pipe.send(answer)


@contextlib.contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _without_main(used: list[Any]) -> Iterator[None]:
    """The block's processes do not run the main module again, unless something that they use was defined there."""
    main = sys.modules["__main__"]
    if not any("__main__" in (getattr(x, "__module__", ""), type(x).__module__) for x in used):
        sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
