"""A defense that goes wrong in a way of one's choice, after its first point.

Source: what long sweeps meet: a bug, too little memory, a loss that diverges, a process that is
killed, one that hangs.
Deviation: on purpose.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Generator, nn

from trials.train import clone
from trials.types import DefenderView


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    how: Literal["raises", "memory", "nan", "killed", "exits", "hangs"] = "raises",
) -> Iterator[tuple[int, nn.Module]]:
    """Yield the model as it is, then fail.

    Args:
        how: the fault.
    """
    model = clone(view.model)
    yield every, model
    if how == "raises":
        raise RuntimeError("this defense is broken")
    if how == "memory":
        bytearray(2**60)
    if how == "nan":
        with torch.no_grad():
            next(model.parameters()).fill_(float("nan"))
        yield 2 * every, model
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exits":
        sys.exit(3)
    time.sleep(1000)
