"""The self-poisoned copies of a trial side by side, with the given model: repaired in lockstep,
measured together, averaged.
"""

from collections.abc import Iterator
from statistics import fmean, pstdev
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from trials.games._depth import path_share, retuned
from trials.metrics import accuracy, success
from trials.reporting import Phase, reporter
from trials.runtime import DefenderContext
from trials.self_poisoning import KINDS
from trials.spec import Point
from trials.types import DefenderView

RECONSTRUCTED = "asr_reconstructed"  # in ``extra``: of the reconstructed trigger
OF_KIND = "asr/"  # before a kind of trigger: the ASR of its copies, in ``extra``
Cost = Literal["given", "both", "copies"]
EVERY = slice(None)


class Given(NamedTuple):
    """What was measured of the given model: its mean CDA over the cuts, and how far the
    reconstructed trigger works, after the repair for the first.
    """

    cda: float
    extra: dict[str, float]


class CopySet:
    """The first ``copies`` copies, with one part of their trusted images, stamped once.

    Args:
        cost: on what the clean accuracy is measured: the given model, which needs no trigger and
            is repaired once for each way in which the copies' images are cut, before the copies
            (given) or beside them (both); or the copies.
        reconstruct: measure on the given model, too, how far the reconstructed trigger works.
        smooth: which may be a faint picture or a warp.
        mirrored: measure the given model's CDA on the mirror images, too, where training mirrors.
    """

    def __init__(
        self,
        ctx: DefenderContext,
        copies: int,
        part: Literal["select", "report"],
        cost: Cost = "copies",
        reconstruct: bool = False,
        mirrored: bool = False,
        smooth: bool = False,
    ) -> None:
        self.ctx, self.part = ctx, part
        self.copies = [ctx.copy(i) for i in range(copies)]
        trusted = ctx.view.trusted
        places = [c.select if part == "select" else c.report for c in self.copies]
        self.images = [trusted.take(p) for p in places]
        self.triggered = [c.goal.cases(s) for s, c in zip(self.images, self.copies, strict=True)]
        cuts = {tuple(c.fit.tolist()): i for i, c in reversed(list(enumerate(self.copies)))}
        self._given = sorted(cuts.values()) if cost != "copies" else []
        given = [self.images[i] for i in self._given]
        self._given_images = [i.and_mirrored() for i in given] if mirrored else given
        self._mirrored = mirrored
        self._beside = self._given if cost == "both" else []
        self._own = ctx.reconstructed(smooth) if reconstruct and self._given else None
        self._own_cases = self._own.goal.cases(self.images[self._given[0]]) if self._own else None
        self.sizes = {
            # distinct images: the binomial's n
            "n_clean": float(len(set(torch.cat(places).tolist()))),
            "n_triggered": fmean(len(x) for x in self.triggered),
            "copies": float(copies),
        }
        if self._own and self._own_cases:
            self.sizes |= {
                self._own.metric: self._own.share,
                "suspect": float(self._own.goal.target),
                "n_reconstructed": float(len(self._own_cases)),
            }

    @property
    def share_of_given(self) -> float:
        """Of the repairs, the share that is the given model's."""
        return len(self._given) / (len(self._given) + len(self.copies))

    def start(self) -> Point:
        """The copies and the given model before any repair; the same for every defense."""
        given = [self.ctx.view.model] * len(self._given)
        own = self._own.form if self._own else ""
        words = (self.part, len(self.copies), len(given), own, self._mirrored)
        return self.ctx.once(
            words,
            lambda: self.measure(
                0, [c.model for c in self.copies], self._of_given(given) if given else None
            ),
        )

    def measure(self, step: int, models: list[nn.Module], given: Given | None = None) -> Point:
        """Mean ASR over the copies, and the mean CDA of what it is to be measured on.

        ``extra`` has each copy's own, the copies' mean CDA and spreads (population sd), and the
        mean ASR of each kind of trigger.

        Args:
            step: of the repair.
            models: the copies, and whatever is repaired beside them.
            given: what was measured of the given model, where it was repaired before the copies.
        """
        number = len(self.copies)
        cdas = [accuracy(m, s) for m, s in zip(models[:number], self.images, strict=True)]
        asrs = [success(m, cases) for m, cases in zip(models[:number], self.triggered, strict=True)]
        if models[number:]:
            given = self._of_given(models[number:])
        each = {f"cda_{i}": v for i, v in enumerate(cdas)} | {
            f"asr_{i}": v for i, v in enumerate(asrs)
        }
        spread = {"cda_sd": pstdev(cdas), "asr_sd": pstdev(asrs)}
        extra = {**each, **spread, **self._by_kind(asrs)}
        if given is None:
            return Point(step, fmean(cdas), fmean(asrs), extra=extra)
        extra |= {"cda_copies": fmean(cdas), **given.extra}
        return Point(step, given.cda, fmean(asrs), extra=extra)

    def _of_given(self, models: list[nn.Module], cuts: slice = EVERY) -> Given:
        """The given model, as repaired for each of these cuts."""
        cda = fmean(map(accuracy, models, self._given_images[cuts]))
        own = self._own_cases if not cuts.start else None
        return Given(cda, {RECONSTRUCTED: success(models[0], own)} if own else {})

    def _by_kind(self, asrs: list[float]) -> dict[str, float]:
        kinds = [c.kind for c in self.copies]
        found: dict[str, float] = {}
        for kind in sorted(set(kinds) & set(KINDS)):
            mine = [asr for asr, other in zip(asrs, kinds, strict=True) if other == kind]
            found[OF_KIND + kind] = fmean(mine)
        return found

    @property
    def cuts(self) -> int:
        """How many times the given model is repaired: once for each way in which images are cut."""
        return len(self._given)

    def cost(self, every: int, cuts: slice) -> Iterator[tuple[int, Given]]:
        """(step, what is measured of the given model) of its repair, alone, for some of the cuts.

        The reconstructed trigger is measured on the first of all.
        """
        given, some = self.ctx.view.model, self._given[cuts]
        runs = [self._repair(given, self.copies[i].fit, i, every) for i in some]
        for step, models in _together(runs, reporter.split(*("the given model" for _ in runs))):
            yield step, self._of_given(models, cuts)

    def unrepaired(self, cuts: slice) -> float:
        """The given model's CDA on the images of these cuts, before any repair."""
        model = self.ctx.view.model
        return fmean(accuracy(model, images) for images in self._given_images[cuts])

    def repairs(self, every: int, stop_at: int = 0) -> Iterator[tuple[int, list[nn.Module]]]:
        """(step, models) each time that all have come to the same step; each copy is fitted on its
        own part, and the given model, where it is repaired beside them, on that of one of them. The
        caller stops at ``stop_at``; 0 for the end.
        """
        reporter.until(stop_at)
        number, given = len(self.copies), self.ctx.view.model
        names = [f"copy {i} of {number}" for i in range(1, number + 1)]
        phases = reporter.split(*names, *("the given model" for _ in self._beside))
        runs = [self._repair(c.model, c.fit, i, every) for i, c in enumerate(self.copies)]
        runs += [self._repair(given, self.copies[i].fit, i, every) for i in self._beside]
        yield from _together(runs, phases)

    def depth(self, models: list[nn.Module]) -> dict[str, float]:
        """How deep the repair of the copies goes, means over them; ``models`` as repaired."""
        backs, shares = [], []
        for i, (c, cases) in enumerate(zip(self.copies, self.triggered, strict=True)):
            fit, which = self.ctx.view.trusted.take(c.fit), f"copy {i + 1} of {len(self.copies)}"
            with reporter.untimed(f"retuning repaired {which}"):
                backs.append(retuned(models[i], fit, c.goal, cases, self.ctx.rng("retune", i)))
            with reporter.untimed(f"between poisoned and repaired {which}"):
                shares.append(path_share(c.model, models[i], cases))
        return {"retuned_asr": fmean(backs), "path_share": fmean(shares)}

    def _repair(
        self, model: nn.Module, fit: Tensor, draw: int, every: int
    ) -> Iterator[tuple[int, nn.Module]]:
        assert self.ctx.repair is not None
        view = DefenderView(model, self.ctx.view.trusted.take(fit))
        return self.ctx.repair(view, self.ctx.rng("repair", draw), every)


def _together(
    runs: list[Iterator[tuple[int, nn.Module]]], phases: list[Phase]
) -> Iterator[tuple[int, list[nn.Module]]]:
    """(step, models) of repairs in lockstep."""
    told = [phase.along(run) for phase, run in zip(phases, runs, strict=True)]
    for together in zip(*told, strict=True):
        steps = {step for step, _ in together}
        if len(steps) != 1:
            raise RuntimeError(f"the copies came apart at steps {sorted(steps)}")
        yield steps.pop(), [model for _, model in together]
