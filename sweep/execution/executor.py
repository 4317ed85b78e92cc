"""What runs trials: this process, a pool of worker processes, or Ray Tune.

An executor is made with all that it needs to know of the place, and is then given a scheduler, from
which it draws trials and to which it gives records.
"""

from dataclasses import dataclass
from typing import Protocol

from sweep.execution.scheduler import Scheduler


class Executor(Protocol):
    """Runs trials until the scheduler has none left."""

    def run(self, scheduler: Scheduler) -> None:
        """Run every trial that the scheduler hands out, and give it the records.

        Raises:
            SpecError: the place cannot run them.
            KeyboardInterrupt: passed on.
        """


@dataclass(frozen=True, slots=True)
class Engine:
    """Where a person wants a sweep to run.

    Attributes:
        use_ray: on Ray; else in worker processes of this machine.
        address: of a running Ray cluster; None starts a Ray of its own here.
        ship: send this package's code to the nodes of that cluster.
        spread: without Ray and on CPUs a stage of fewer trials than may run at once gives each of
            them several times its threads.
    """

    use_ray: bool = True
    address: str | None = None
    ship: bool = False
    spread: bool = False
