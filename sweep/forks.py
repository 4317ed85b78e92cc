"""Processes that are forks of one which has loaded libraries and done nothing: no thread, no GPU, no model.

So torch is loaded once, its pages are shared however many there are, and a driver does without it.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from sweep.secrets import kept_from_children
from sweep.worker import die_with_the_driver
from trials.spec import SpecError

# what the check and a worker run, and what optimizers load when first used
PRELOADED = ["trials.run", "sweep.check", "sweep.serving", "torch._dynamo"]


def start(function: Callable[..., None], *given: Any) -> tuple[ForkServerProcess, "Connection[Any, Any]"]:
    """Run ``function(*given, pipe)`` in a process that ends with this one; the other end of its pipe."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    ours, theirs = context.Pipe()
    with kept_from_children(), _without_main([function, *given]):
        process = context.Process(target=_begin, args=(dict(os.environ), function, given, theirs), daemon=True)
        process.start()
    theirs.close()  # else its end would stay open after its death
    return process, ours


def ask(function: Callable[..., Any], *given: Any) -> Any:
    """What ``function(*given)`` returns in such a process.

    Raises:
        SpecError: as the function does.
        RuntimeError: it raised anything else, or the process was ended; with its traceback or exit code.
    """
    process, pipe = start(_answer, function, given)
    try:
        how, what = pipe.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"{function.__name__}: its process ended with exit code {process.exitcode}") from None
    finally:
        process.kill()  # after Ctrl-C it may still be at work; else it is over
        process.join()
        pipe.close()
    if how == "refused":
        raise SpecError(what)
    if how == "failed":
        raise RuntimeError(f"{function.__name__} failed:\n{what}")
    return what


def _begin(environment: dict[str, str], function: Callable[..., None], given: tuple[Any, ...], pipe: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's; it ends its workers
    die_with_the_driver()
    os.environ.clear()  # what it was forked from may have an older one
    os.environ |= environment
    function(*given, pipe)


def _answer(function: Callable[..., Any], given: tuple[Any, ...], pipe: "Connection[Any, Any]") -> None:
    try:
        answer = "done", function(*given)
    except SpecError as problem:
        answer = "refused", str(problem)
    except Exception:
        answer = "failed", traceback.format_exc()
    pipe.send(answer)


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
