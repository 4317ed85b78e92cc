"""The entry point. What a user can fix is one line on stderr and exit code 2; anything else is our
bug.
"""

import functools
import io
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import typer

from sweep.cli.app import app
from sweep.console.terminal import line
from sweep.execution import secrets, stops
from sweep.execution.progress import Aborted
from sweep.spec.old_words import OldWord
from trials.spec import SpecError

INTERRUPTED = 130  # exit code after Ctrl-C; 143 after SIGTERM, 129 after SIGHUP
TIMED_OUT = 124  # after the time of --for, as timeout(1) ends
STOPPED = "stopped. Everything finished is stored; the same command goes on from there."


def main(args: list[str] | None = None) -> None:
    """Entry point of the console script."""
    if args is None:
        secrets.off_the_command_line()
    command: Any = typer.main.get_command(app)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    with stops.listening(), warnings.catch_warnings():
        warnings.simplefilter("always", OldWord)
        usual = warnings.showwarning
        warnings.showwarning = functools.partial(_show, usual)
        _run(command, args)


def _show(
    usual: Callable[..., None], message: Warning | str, category: type[Warning], *rest: Any
) -> None:
    """Say an old word of a sweep's file in one line; any other warning as Python does."""
    if issubclass(category, OldWord):
        print(line(f"poisonsweep: {message}"), file=sys.stderr)
    else:
        usual(message, category, *rest)


def _run(command: Any, args: list[str] | None) -> None:
    try:
        code = _uninterrupted(command, args)
    except SpecError as problem:
        _stop(str(problem))
    except (Aborted, stops.TimeUp) as problem:
        _stop(str(problem), TIMED_OUT if isinstance(problem, stops.TimeUp) else 1)
    except KeyboardInterrupt:
        _stop(STOPPED, stops.code() or INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as problem:
        _stop(f"{problem.filename or 'the system'}: {problem.strerror or problem}.")
    except MemoryError as problem:
        why = f" ({problem})" if str(problem) else ""
        _stop(
            f"there is not enough memory for this{why}. Lower what it asks for: sizes, widths, "
            "batches, workers."
        )
    except Exception as problem:
        _parsers(problem)
        raise
    sys.exit(code if isinstance(code, int) else 0)


def _uninterrupted(command: Any, args: list[str] | None) -> object:
    """What the command gave.

    Raises KeyboardInterrupt where it was to stop, whatever that became on its way.
    """
    try:
        code = command.main(args=args, prog_name="poisonsweep", standalone_mode=False)
    except stops.TimeUp:
        raise
    except Exception as problem:  # of a terminal that is gone, say
        if stops.code():
            raise KeyboardInterrupt from problem
        raise
    if code == INTERRUPTED:  # the parser turns it into a code, silently
        raise KeyboardInterrupt
    return code


def _parsers(problem: Exception) -> None:
    """Stop for what the parser of the command line raises; leave anything else alone."""
    if hasattr(problem, "format_message") and hasattr(problem, "exit_code"):
        _stop(f"{problem.format_message()} See 'poisonsweep --help'.", 2)
    # one that is caused by the end of the input is a bug of ours
    aborted = type(problem).__name__ == "Abort"
    if aborted and not isinstance(problem.__cause__, EOFError):
        _stop(STOPPED, INTERRUPTED)


def _stop(text: str, code: int = 2) -> None:
    try:
        print(f"poisonsweep: {line(text)}", file=sys.stderr, flush=True)
    except OSError:
        # the terminal is gone; Python would try once more at its end, and change the code
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)
