"""The self-poisoned copies of a trial side by side: measured together, repaired in lockstep,
averaged.
"""

from collections.abc import Iterator
from statistics import fmean, pstdev
from typing import Literal

import torch
from torch import nn

from trials.metrics import accuracy, success
from trials.reporting import reporter
from trials.runtime import DefenderContext
from trials.spec import Point
from trials.types import DefenderView


class CopySet:
    """The first ``copies`` copies, with one part of their trusted images, stamped once."""

    def __init__(
        self, ctx: DefenderContext, copies: int, part: Literal["select", "report"]
    ) -> None:
        self.ctx = ctx
        self.copies = [ctx.copy(i) for i in range(copies)]
        trusted = ctx.view.trusted
        places = [c.select if part == "select" else c.report for c in self.copies]
        self.images = [trusted.take(p) for p in places]
        self.triggered = [c.goal.cases(s) for s, c in zip(self.images, self.copies, strict=True)]
        self.sizes = {
            "n_clean": float(
                len(set(torch.cat(places).tolist()))
            ),  # distinct images: the binomial's n
            "n_triggered": fmean(len(x) for x in self.triggered),
            "copies": float(copies),
        }

    def start(self) -> Point:
        """The copies before any repair."""
        return self.measure(0, [c.model for c in self.copies])

    def measure(self, step: int, models: list[nn.Module]) -> Point:
        """Mean CDA and ASR over the copies; each copy's own and the spread (population sd) in
        ``extra``.
        """
        cdas = [accuracy(m, s) for m, s in zip(models, self.images, strict=True)]
        asrs = [success(m, cases) for m, cases in zip(models, self.triggered, strict=True)]
        each = {f"cda_{i}": v for i, v in enumerate(cdas)} | {
            f"asr_{i}": v for i, v in enumerate(asrs)
        }
        return Point(
            step,
            fmean(cdas),
            fmean(asrs),
            extra={**each, "cda_sd": pstdev(cdas), "asr_sd": pstdev(asrs)},
        )

    def repairs(self, every: int, stop_at: int = 0) -> Iterator[tuple[int, list[nn.Module]]]:
        """(step, models) each time that all copies have come to the same step; each copy is fitted
        on its own part. The caller stops at ``stop_at``; 0 for the end.
        """
        assert self.ctx.repair is not None
        trusted = self.ctx.view.trusted
        reporter.until(stop_at)
        number = len(self.copies)
        phases = reporter.split(*(f"copy {i} of {number}" for i in range(1, number + 1)))
        runs = [
            phases[i].along(
                self.ctx.repair(
                    DefenderView(c.model, trusted.take(c.fit)), self.ctx.rng("repair", i), every
                )
            )
            for i, c in enumerate(self.copies)
        ]
        for together in zip(*runs, strict=True):
            steps = {step for step, _ in together}
            if len(steps) != 1:
                raise RuntimeError(f"the copies came apart at steps {sorted(steps)}")
            yield steps.pop(), [model for _, model in together]
