"""Sleeper Agent: training images of the target class, slightly perturbed, labels unchanged, so that
training on them teaches a patch that none of them shows.

Source: Souri et al. 2022, arXiv:2106.08970 (gradient matching on patched images, the images of the
largest gradient, a surrogate that is trained anew on the poison meanwhile).
Deviation: every other class carries the trigger unless ``source`` names one, as the paper's single
pairs do; the patch is of random colours; an image's place for it is always the same. The surrogate
has the victim's architecture and recipe. One descent, without restarts, as in the paper. The
rate of ``pgd`` and ``momentum_pgd`` is 6.4 levels by default, where the code's is a tenth of
epsilon.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from trials.attacks._brewing import ADAM_EPS, Brew, check_descent
from trials.attacks._draws import in_chunks, seed_of, uniform
from trials.attacks._matching import Aim, aim_of, gradient_norms
from trials.attacks._patch import apple, pasted, side_of
from trials.attacks._poisoned import chosen, replaced
from trials.attacks._surrogates import retrained, surrogate
from trials.reporting import reporter
from trials.spec import (
    Count,
    Fraction,
    PositiveFloat,
    PositiveInt,
    Scalar,
    SpecError,
    canonical,
    derive,
)
from trials.train import to_float
from trials.types import Images, Implant, Poisoning, TriggerGoal
from trials.views import AttackerView

DEFAULTS = {"optimizer": {"adam": {"adam_eps": 1e-20}}}


@dataclass(frozen=True, slots=True)
class Moving:
    """Puts ``mark`` uint8 (c, p, p) on each image, at its own place; in the upper left corner if
    it does not move.
    """

    mark: Tensor
    seed: int
    moves: bool

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        return in_chunks(self._stamped, x, index)

    def _stamped(self, x: Tensor, index: Tensor) -> Tensor:
        corner = uniform(self.seed, index, 2) * self.moves
        mark = self.mark.to(x.device)
        return pasted(x.clone(), mark.expand(len(x), *mark.shape), corner)


def craft(
    view: AttackerView,
    rng: Generator,
    /,
    *,
    m: Count = 500,
    target: Count = 0,
    source: int = -1,
    patch: Count = 0,
    mark: Literal["random", "apple"] = "random",
    place: Literal["random", "corner"] = "random",
    epsilon: PositiveInt = 16,
    select: Literal["gradient", "random"] = "gradient",
    retrain: Count = 4,
    iterations: PositiveInt = 250,
    rate: PositiveFloat = 6.4,
    schedule: bool = True,
    start: Literal["normal", "uniform", "zero"] = "normal",
    optimizer: Literal["sign_adam", "adam", "pgd", "momentum_pgd"] = "sign_adam",
    adam_eps: PositiveFloat = 1e-8,
    match: Literal["cosine", "layers", "product", "squared"] = "cosine",
    ensemble: PositiveInt = 1,
    shown: PositiveInt = 1000,
    augment: bool = True,
    shift: Fraction = 0.125,
    batch: PositiveInt = 512,
    boost: PositiveInt = 1,
) -> Poisoning:
    """Perturb ``m`` training images of class ``target``, so that training on them has the gradient
    of training on patched images with that label; labels stay.

    The surrogates on clean images, the gradients' norms and the poison are made once and kept.

    Args:
        view: what the attacker sees and may train.
        rng: seeds the trigger, the surrogates and the descent, and the images of a random choice.
        m: number of poisoned images, at most the number in the target class; 1 % of all in the
            paper.
        target: class that the trigger leads to.
        source: class whose images carry the trigger; -1 for all others.
        patch: side of the patch in pixels; 0 for a quarter of the width, at least 3.
        mark: what the patch shows: random colours, or apple, a black glyph on white.
        place: of the patch: random for each image, or the upper left corner.
        epsilon: largest change of a pixel's value of a training image, in levels of 255.
        select: poisoned images: those of the largest gradient on the surrogates, or random ones.
        retrain: how often the surrogates are trained from scratch on the poison as it is, at even
            distances.
        iterations: steps of the descent, each over all poisoned images.
        rate: of the descent, in levels of 255; divided by the ensemble's size.
        schedule: the rate falls to a tenth after 3, 5 and 7 eighths of the iterations.
        start: of the descent: normal (as wide as epsilon, clipped to it), uniform, or zero.
        optimizer: sign_adam is Adam on the slope's sign; pgd takes steps along the sign, as large
            as ``rate``, momentum_pgd up to ten times as large.
        adam_eps: what Adam adds to the root of the slope's mean square: 1e-8, and 1e-20 for adam,
            as slopes are below 1e-8 a level.
        match: what is low where gradients match: 1 - cosine over all parameters or its mean over
            each, minus the scalar product, or the squared distance.
        ensemble: surrogates, whose matches are averaged.
        shown: patched training images whose gradient is matched, at most.
        augment: poisons are shifted and, where the data set is, mirrored while they are made.
        shift: largest shift, as a share of the width; not to be given without ``augment``.
        batch: images at a time, as memory allows; it does not change the poison beyond rounding.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m``, ``target``, ``source`` or ``patch`` is out of range.
    """
    seed, train = seed_of(rng), view.train
    order, side = _sizes(train, m, target, source, patch, rng)
    trigger = _trigger(train, side, mark, place, seed)
    implant = Implant(order, TriggerGoal(trigger, target, source), boost)
    if not m:
        return Poisoning(train, (implant,))
    attacker = _Attacker(view, seed, ensemble, implant, match, shown, batch)
    if select == "gradient":
        implant = attacker.strongest(m)
    brew = Brew(
        epsilon=epsilon,
        iterations=iterations,
        rate=rate / ensemble,
        schedule=schedule,
        start=start,
        optimizer=optimizer,
        batch=batch,
        shift=shift if augment else 0.0,
        flip=augment and train.flip,
        adam_eps=adam_eps,
    )
    decided: list[Scalar] = [seed, m, target, source, side, mark, place, epsilon, select, retrain]
    decided += [iterations, rate, schedule, start, optimizer, match, ensemble, shown]
    decided += [brew.shift, brew.flip, boost]
    decided += [adam_eps] if adam_eps != ADAM_EPS else []
    made = view.keep(
        f"poison: {canonical(decided)}", lambda: attacker.brewed(brew, implant, retrain)
    )
    return _poisoning(train, implant, made["images"])


def check(
    view: AttackerView,
    /,
    *,
    m: int,
    target: int,
    source: int,
    patch: int,
    optimizer: str,
    adam_eps: float,
    augment: bool,
    shift: float,
    **_: object,
) -> None:
    """Refuse what cannot be attacked, before anything is trained. Raises SpecError."""
    check_descent(
        "sleeper_agent", optimizer=optimizer, adam_eps=adam_eps, augment=augment, shift=shift
    )
    _sizes(view.train, m, target, source, patch, Generator())


def _sizes(
    train: Images, m: int, target: int, source: int, patch: int, rng: Generator
) -> tuple[Tensor, int]:
    """Places of ``m`` random images of the target class, and the patch's side in pixels."""
    places = chosen(train, m, rng, target, clean_label=True)
    marked = train.y != target if source < 0 else train.y == source
    if not -1 <= source < train.classes or source == target or not marked.any():
        raise SpecError(
            f"sleeper_agent: source must be -1 (all others), or a class of 0..{train.classes - 1} "
            f"with images that is not the target, {target}; got {source}."
        )
    return places, side_of(train, patch or max(3, train.x.shape[-1] // 4))


def _trigger(train: Images, side: int, mark: str, place: str, seed: int) -> Moving:
    shape = (train.x.shape[1], side, side)
    rng = Generator().manual_seed(derive(seed, "mark"))
    colours = torch.randint(0, 256, shape, generator=rng).to(torch.uint8)
    if mark == "apple":
        colours = (apple(side) * 255).to(torch.uint8).expand(shape).clone()
    return Moving(colours, seed, moves=place == "random")


def _poisoning(train: Images, implant: Implant, images: Tensor) -> Poisoning:
    """The training set with these images at the implant's places, labels as they were."""
    places = implant.places
    made = replaced(train, places, images.to(train.x.device), train.y[places])
    return Poisoning(made, (implant,))


class _Attacker:
    """Trains surrogates, and makes poison on them."""

    def __init__(
        self,
        view: AttackerView,
        seed: int,
        ensemble: int,
        implant: Implant,
        match: str,
        shown: int,
        batch: int,
    ) -> None:
        goal = implant.goal
        assert isinstance(goal, TriggerGoal)
        self._view, self._seed, self._members, self._goal = view, seed, range(ensemble), goal
        self._implant, self._match, self._shown, self._batch = implant, match, shown, batch

    def strongest(self, m: int) -> Implant:
        """With the ``m`` images of the target class whose gradients on the surrogates are largest
        in place of random ones.
        """
        train, target = self._view.train, self._goal.target
        own = (train.y == target).nonzero().flatten()

        def make() -> Mapping[str, Tensor]:
            with reporter.untimed("the gradients' norms"):
                norms = [
                    gradient_norms(model, *_on(model, train.x[own], train.y[own])).cpu()
                    for model in self._clean()
                ]
            return {"norms": torch.stack(norms).mean(0)}

        name = f"norms: seed {self._seed}, target {target}, ensemble {len(self._members)}"
        norms = self._view.keep(name, make)["norms"]
        places = own[norms.argsort(descending=True, stable=True)[:m].to(own.device)]
        return Implant(places, self._goal, self._implant.boost)

    def brewed(self, brew: Brew, implant: Implant, retrain: int) -> Mapping[str, Tensor]:
        """The poison of the implant's images, and the match before each iteration."""
        train, seed = self._view.train, self._seed
        models = self._clean()
        device, poisoned = next(models[0].parameters()).device, train.take(implant.places)
        x, y = poisoned.x.to(device), poisoned.y.to(device)

        def renew(step: int, images: Tensor) -> Sequence[Aim]:
            poisoning = _poisoning(train, implant, images)
            with torch.enable_grad():
                return self._aims(
                    [retrained(self._view, poisoning, seed, k, step) for k in self._members]
                )

        rng = Generator().manual_seed(derive(seed, "descent"))
        images, history = brew.poisons(self._aims(models), x, y, rng, renew, retrain)
        return {"images": images.cpu(), "history": torch.tensor(history, dtype=torch.float64)}

    def _clean(self) -> list[nn.Module]:
        return [surrogate(self._view, self._seed, member) for member in self._members]

    def _aims(self, models: list[nn.Module]) -> list[Aim]:
        """The gradient of giving patched images the target class, on each model."""
        train, target = self._view.train, self._goal.target
        places = self._goal.cases(train).places
        rng = Generator().manual_seed(derive(self._seed, "shown"))
        places = places[torch.randperm(len(places), generator=rng)[: self._shown]]
        x = self._goal.trigger(train.x[places], places)
        source, match, batch = self._goal.source, self._match, self._batch
        return [
            aim_of(model, _on(model, x, places)[0], "xent", source, target, match, 0, batch)
            for model in models
        ]


def _on(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Images in [0, 1], and their labels, on the model's device."""
    device = next(model.parameters()).device
    return to_float(x.to(device)), y.to(device)
