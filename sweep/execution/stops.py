"""Ctrl-C, SIGTERM, SIGHUP and the end of the time given end a command alike: the trial of this
process writes its checkpoint, then all is let go.

SIGTERM is what ``docker stop``, Kubernetes and SLURM send, SIGHUP comes when a terminal is closed.
A signal that is ignored when the command begins stays ignored, as ``nohup`` wants it.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from trials.leaving import leaving

GRACE = 5.0  # seconds in which a process that is not wanted any more may put things in order
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TIME = signal.SIGALRM


class TimeUp(RuntimeError):
    """The time that was given is over; everything finished is stored, and the rest can go on."""


@dataclass(slots=True)
class _Heard:
    number: int = 0  # of the first signal
    listening: bool = False
    overdue: threading.Timer | None = None  # ends the wait for a checkpoint


_heard = _Heard()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """In this block each of the signals is a KeyboardInterrupt, the first time it comes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.getsignal(n) for n in ENDING}
    mine = [n for n in ENDING if before[n] is not signal.SIG_IGN]
    _heard.number, _heard.listening = 0, True
    for number in mine:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        _heard.listening = False
        if _heard.overdue:
            _heard.overdue.cancel()
        for number in mine:
            signal.signal(number, before[number])


@contextlib.contextmanager
def after(seconds: float) -> Iterator[None]:
    """In this block, which ``listening`` is around, the command is stopped after so many seconds
    as by a signal; ``timed_out`` then says why. 0 is no limit.
    """
    if not seconds:
        yield
        return
    before = signal.signal(TIME, _stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(TIME, before)


def timed_out() -> bool:
    """Whether what stopped the command was the end of its time."""
    return _heard.number == TIME


def code() -> int:
    """The exit code after the signal that came, 0 where none did."""
    return 128 + _heard.number if _heard.number else 0


def are_heard() -> bool:
    """Whether this process has such handlers now, which nobody else is to replace."""
    return _heard.listening


def again() -> None:
    """Take the signals back from a library in C, which replaces handlers without Python's
    knowledge.
    """
    if _heard.listening:
        for number in ENDING:
            signal.signal(number, signal.getsignal(number))


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """What is started in this block never hears these signals: they are for the driver, which ends
    what it started.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(number: int, _: FrameType | None) -> None:
    if not _heard.number:
        _heard.number = number
        if leaving.ask(KeyboardInterrupt()):
            _heard.overdue = threading.Timer(GRACE, os.kill, (os.getpid(), signal.SIGTERM))
            _heard.overdue.daemon = True
            _heard.overdue.start()
            return
    elif not leaving.drop() and number != signal.SIGINT:
        return  # it comes several times, as from a shell and from the system, and is being heeded
    raise KeyboardInterrupt
