"""One try at training a backdoor into a copy of the given model: its batches, its curve and its
checkpoints.
"""

import collections
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from trials.json_forms import point_from_json, to_json
from trials.metrics import accuracy, success
from trials.reporting import reporter
from trials.runtime import DefenderContext
from trials.self_poisoning.layout import Layout
from trials.self_poisoning.objective import Objective
from trials.self_poisoning.schemes import SCHEMES, loss_of
from trials.spec import Point
from trials.train import augment, clone, make_optimizer, shuffled, stream, to_float, tune
from trials.types import Cases, Images

RUINED = 0.5  # share of the model's clean accuracy, below which a copy is none of it any longer
WORKS = 0.5  # ASR to be reached, below which a copy is taken as it is: it need not work
WEIGHED = 256  # images that tell how far the backdoor needs a weight


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a copy is trained: the settings of ``self_poison`` that say so."""

    scheme: str
    optimizer: str
    lr: float
    steps: int
    rounds: int
    batch: int
    share: float
    reach: float
    check_every: int
    hope: float

    @property
    def stamped(self) -> int:
        """Poisoned images of a batch."""
        return max(1, round(self.share * self.batch))

    @property
    def most(self) -> int:
        """Steps of all rounds."""
        return self.rounds * self.steps


class CopyTraining:
    """A copy of the given model that is trained with one trigger.

    Args:
        ctx: of the trial.
        copy: number of the copy; its beginning and its batches are drawn alike for every trigger.
        schedule: how it is trained.
        unlearned: triggers that were tried before this one and were not learned.

    Attributes:
        last: no other trigger is tried after this one, so that every round is run that is needed.
        model: the copy.
        curve: its points so far; empty before ``train``, unless it goes on from a checkpoint.
    """

    def __init__(
        self, ctx: DefenderContext, copy: int, schedule: Schedule, unlearned: int = 0
    ) -> None:
        self._ctx, self._copy, self._schedule, self.unlearned = ctx, copy, schedule, unlearned
        self._scheme = SCHEMES[schedule.scheme]
        self.model = clone(ctx.view.model)
        self._scheme.begin(self.model, ctx.rng("begin", copy))
        self._optimizer = make_optimizer(self.model, schedule.optimizer, schedule.lr, 5e-4)
        self._rng = ctx.rng("mix", copy)
        self.curve: list[Point] = []
        self.last = True
        self._given_cda = 0.0

    @property
    def learned(self) -> bool:
        """Whether the backdoor has the ASR that it must have, in a copy that is not ruined: one
        that gives the target to every image has it too.
        """
        return self.curve[-1].asr >= self._schedule.reach and not self.ruined

    @property
    def ruined(self) -> bool:
        """Whether the copy has less than half of the given model's clean accuracy, where a backdoor
        is asked for that works.
        """
        works = self._schedule.reach >= WORKS
        return works and self.curve[-1].cda < RUINED * self._given_cda

    @property
    def _hopeful(self) -> bool:
        """Whether another round may teach what is missing, rather than another trigger."""
        hopeful = self.last or self.curve[-1].asr >= self._schedule.hope * self._schedule.reach
        return hopeful and not self.ruined

    def resume(self) -> None:
        """Go on from the trial's checkpoint, if it has one, with the trigger that it was taken
        at.
        """
        checkpointer = self._ctx.checkpointer
        if checkpointer is None:
            return
        position = checkpointer.restore(self.model, [self._optimizer], self._rng)
        if position:
            self.curve = [point_from_json(p) for p in position["curve"]]
            self.unlearned = position.get("unlearned", 0)  # older checkpoints know one trigger
            self._rng = self._ctx.rng("mix", self._copy)

    def train(self, plan: Layout) -> Iterator[Point]:
        """Train the layout's trigger in, round by round until it is learned; yields the whole
        curve, what it had before a checkpoint first.
        """
        view, schedule = self._ctx.view, self._schedule
        select = view.trusted.take(plan.select)
        triggered = plan.goal.cases(select)
        self._given_cda = accuracy(view.model, select)
        if not self.curve:
            self.curve.append(self._measured(0, select, triggered))
        yield from self.curve
        batches = self._batches(plan)
        pace = self._pace()
        loss = self._objective(plan)
        while self._goes_on:
            done = self.curve[-1].step
            left = schedule.steps - done % schedule.steps
            reporter.part(self._part(done), 0, 1)
            steps = tune(
                self.model,
                batches,
                self._optimizer,
                left,
                schedule.check_every,
                loss,
                after=lambda _: pace.step(),
            )
            for step, _ in steps:
                self.curve.append(self._measured(done + step, select, triggered))
                self._keep()
                yield self.curve[-1]

    @property
    def _goes_on(self) -> bool:
        """Within a round, or before another one that is needed and may help."""
        done = self.curve[-1].step
        within = done % self._schedule.steps or not done
        another = not self.learned and self._hopeful
        return done < self._schedule.most and bool(within or another)

    def _measured(self, step: int, select: Images, triggered: Cases) -> Point:
        checkpointer = self._ctx.checkpointer
        seconds = checkpointer.elapsed() if checkpointer else 0.0
        return Point(step, accuracy(self.model, select), success(self.model, triggered), seconds)

    def _batches(self, plan: Layout) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches after the curve's last step."""
        schedule, fit = self._schedule, self._ctx.view.trusted.take(plan.fit)
        times = (
            self._scheme.stamped(step % schedule.steps / schedule.steps)
            for step in range(schedule.most)
        )
        batches = mixed(fit, plan, schedule.batch, schedule.stamped, times, self._rng)
        collections.deque(islice(batches, self.curve[-1].step), maxlen=0)  # had been drawn before
        return batches

    def _objective(self, plan: Layout) -> Objective:
        """The losses of the steps after the curve's last one."""
        schedule, fit = self._schedule, self._ctx.view.trusted.take(plan.fit)
        stamped = max(1, round(schedule.share * WEIGHED))

        def learned() -> tuple[Tensor, Tensor]:
            rng = self._ctx.rng("importance", self._copy)  # the same in each round
            return next(mixed(fit, plan, WEIGHED, stamped, [True], rng))

        return Objective(
            self._scheme,
            loss_of(self._scheme, self._ctx.view.model, schedule.stamped),
            self.model,
            self._optimizer,
            schedule.steps,
            self.curve[-1].step,
            learned,
        )

    def _pace(self) -> torch.optim.lr_scheduler.LambdaLR:
        """The rate from the curve's last step on."""
        begun, steps = self.curve[-1].step, self._schedule.steps
        return torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: self._scheme.rate((begun + step) % steps / steps)
        )

    def _part(self, done: int) -> str:
        """The name of the round that begins, or goes on, after so many steps."""
        steps, rounds = self._schedule.steps, self._schedule.rounds
        trigger = f"trigger {self.unlearned + 1}, " if self.unlearned else ""
        begun_at = f", from step {done % steps}" if done % steps else ""
        return f"{trigger}round {done // steps + 1} of at most {rounds}{begun_at}"

    def _keep(self) -> None:
        if self._ctx.checkpointer:
            position = {
                "step": self.curve[-1].step,
                "curve": to_json(self.curve),
                "unlearned": self.unlearned,
            }
            self._ctx.checkpointer.keep(self.model, [self._optimizer], self._rng, position)


def mixed(
    clean: Images,
    plan: Layout,
    batch: int,
    number: int,
    times: Iterable[bool],
    rng: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """A batch for each of ``times``. Its last ``number`` images are shifted and mirrored, and where
    that says so stamped and labelled with the target; or they are the attack's own, as it trains
    on them.
    """
    pool = clean if plan.poisoned is None else plan.poisoned
    places = shuffled(torch.arange(len(pool), device=clean.y.device), number, rng)
    for (x, y), stamped in zip(stream(clean, max(1, batch - number), rng), times, strict=False):
        index = next(places)
        if not stamped:
            index = index % len(clean)
            some, labels = augment(clean.x[index], rng, clean.pad, clean.flip), clean.y[index]
        elif plan.poisoned is not None:
            some, labels = pool.x[index], pool.y[index]
        else:
            some = plan.goal.trigger(augment(clean.x[index], rng, clean.pad, clean.flip), index)
            labels = torch.full_like(y[:1], plan.goal.target).expand(len(index))
        yield torch.cat([x, to_float(some)]), torch.cat([y, labels])
