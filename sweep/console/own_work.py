"""How far this very process has come with a trial or a repair of its own, where no sweep runs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sweep.console.progress import progress_seconds
from sweep.console.running import span
from trials.reporting import TrialProgress, reporter


@contextmanager
def telling(what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Within the block, ``say`` is given a line on the loop that runs, each ``progress_seconds``.

    Args:
        what: is done here.
        say: prints a line.
    """
    began = last = time.monotonic()
    every = progress_seconds()

    def hear(report: TrialProgress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every:
            last = now
            say(f"{what}: {described(report, now - began)}")

    with reporter.heard_by(hear):
        yield


def described(report: TrialProgress, elapsed: float) -> str:
    """The loop's part, step of how many, loss and time left, ``elapsed`` seconds after the
    beginning.
    """
    facts = [report.part] if report.part else []
    facts.append(f"step {report.step} of {report.steps}")
    if report.loss is not None:
        facts.append(f"loss {report.loss:.3g}")
    facts.append(f"running for {span(elapsed)}")
    if report.done:
        facts.append(f"about {span(elapsed * (1 - report.done) / report.done)} left of it")
    return ", ".join(facts)
