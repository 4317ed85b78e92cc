"""Self-poisoning of a training set: the defender adds poison of their own, and trains on it.

Source: the idea of Lukas & Kerschbaum 2023, arXiv:2305.09671 (a defender who poisons copies of the
model knows the trigger), taken to data filters: of the defender's rows it is known that they are
poisoned, so a threshold can be set by them.
Deviation: the paper poisons models; nothing is published of training sets.
"""

from collections.abc import Generator as Steps
from dataclasses import dataclass
from typing import Literal

from torch import nn

from trials.data_views import SelfPoisonDataContext
from trials.metrics import accuracy, success
from trials.reporting import TrialProgress, reporter
from trials.self_poisoning.own_rows import OwnRows, joined, own_rows
from trials.spec import LEARNED, Count, PositiveFraction, PositiveInt
from trials.types import Images


def play(
    ctx: SelfPoisonDataContext,
    /,
    *,
    attacks: PositiveInt = 4,
    kinds: Literal["all", "flipped", "patch"] = "all",
    least: PositiveFraction = 0.001,
    most: PositiveFraction = 0.02,
    redraws: Count = 2,
) -> Steps[TrialProgress, None, dict[str, float]]:
    """Train on the rows, the poisoned ones and the held-back images, and keep the model; how far
    each attack was learned is measured on the images that a filter is given, which are in no
    training.

    Where one of them was not, nothing can be tuned on it: it is drawn again, stronger, and another
    model is trained. The round of the most attacks that were learned is kept, the first of several.
    ``redrawn/NAME`` counts the draws of an attack that were put aside before the one that is kept,
    ``rounds`` the trainings.

    Args:
        attacks: how many are planted, each of another kind.
        kinds: all, of which some keep labels; flipped, those that do not; or patch, a patch alone.
        least: share of the training set that an attack poisons at the least, 40 rows anyway.
        most: share of the training set that an attack poisons at the most, at its first draw.
        redraws: further rounds, at most, of the attacks whose trigger works on less than half of
            the images; each has twice the rows and half more strength.
    """
    kept, redrawn, number = None, (0,) * attacks, 0
    for number in range(1 + redraws):
        rows = own_rows(
            ctx.trusted,
            ctx.n,
            ctx.rng,
            attacks=attacks,
            least=least,
            most=most,
            kinds=kinds,
            redrawn=redrawn,
        )
        name = f"drawn again, round {number} of at most {redraws}" if number else ""
        reporter.part(name, number / (1 + redraws), (number + 1) / (1 + redraws))
        model, poison = ctx.fresh(), joined((rows.rows, rows.held))
        for step, steps, loss in ctx.fit(model, poison, ctx.rng("training")):
            yield reporter.progress(step, steps, loss)
        trained = _trained(model.eval(), rows, rows.probes.to(ctx.device))
        if kept is None or trained.learned > kept.learned:
            kept = trained
        if trained.learned == attacks:
            break
        redrawn = tuple(n + (a < LEARNED) for n, a in zip(redrawn, trained.asr, strict=True))
    assert kept is not None
    ctx.save(kept.model, {"asr": list(kept.asr), "redrawn": list(kept.rows.redrawn)})
    return {**_metrics(kept, kept.rows.probes.to(ctx.device)), "rounds": 1 + number}


@dataclass(frozen=True, slots=True)
class _Trained:
    """A model that was trained with these rows, and the ASR of each attack."""

    model: nn.Module
    rows: OwnRows
    asr: tuple[float, ...]

    @property
    def learned(self) -> int:
        """How many attacks were."""
        return sum(asr >= LEARNED for asr in self.asr)


def _trained(model: nn.Module, rows: OwnRows, unseen: Images) -> _Trained:
    return _Trained(model, rows, tuple(success(model, goal.cases(unseen)) for goal in rows.goals))


def _metrics(kept: _Trained, unseen: Images) -> dict[str, float]:
    rows = kept.rows
    metrics = {"cda": accuracy(kept.model, unseen), "n_clean": len(unseen), "asr": max(kept.asr)}
    for j, name in enumerate(rows.names):
        metrics[f"asr/{name}"] = kept.asr[j]
        metrics[f"m/{name}"] = int((rows.number == j).sum())
        metrics[f"restamped/{name}"] = rows.restamped[j]
        metrics[f"redrawn/{name}"] = rows.redrawn[j]
    return metrics
