"""Witches' Brew: training images of one class, slightly perturbed, labels unchanged, make a model
give that class to one test image, which nothing marks.

Source: Geiping et al. 2021, arXiv:2009.02276, with the settings of its authors' code (the facts
alone); keys of source class, class wanted and image as there.
Deviation: restarts are compared on the 8-bit poisons, all on the same eight draws of the
augmentation, where the code compares each one's last step; surrogates are shared by keys, and every
key's poison by victims of any seed; of several batches the match is that of all of them together.
The rate of ``pgd`` and ``momentum_pgd`` is 6.4 levels by default, where the code's is a tenth of
epsilon. The victim shifts images by whole pixels, as every victim here does.
Left out are descent on the raw gradient, regularisers, surrogates that move while they are matched
or are trained in part, several targets of one poison, matching on all training images
(``full_data``), a penalty on the last layer's gradient (``similarity-narrow``), and dropout while
the wanted gradient is taken.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Generator, Tensor

from trials.attacks import _surrogates as surrogates
from trials.attacks._brewing import ADAM_EPS, Brew, check_descent
from trials.attacks._matching import Aim, aim_of
from trials.attacks._poisoned import chosen, replaced
from trials.spec import (
    Count,
    Fraction,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    Scalar,
    SpecError,
    canonical,
    derive,
)
from trials.train import to_float
from trials.types import Images, Implant, InstanceGoal, Poisoning
from trials.views import AttackerView

TRIGGERLESS = True
DEFAULTS = {"optimizer": {"adam": {"adam_eps": 1e-20}}}


@dataclass(frozen=True, slots=True)
class Instance:
    """What is attacked: the test image at ``place``, of class ``source``, is to be read as
    ``wanted``.
    """

    place: int
    source: int
    wanted: int


def craft(
    view: AttackerView,
    rng: Generator,
    /,
    *,
    key: Count = 0,
    instance: str = "",
    budget: PositiveFraction = 0.01,
    epsilon: Count = 16,
    poisons: Literal["wanted", "third", "any"] = "wanted",
    restarts: PositiveInt = 8,
    iterations: PositiveInt = 250,
    rate: PositiveFloat = 6.4,
    schedule: bool = True,
    start: Literal["normal", "uniform", "zero"] = "normal",
    optimizer: Literal["sign_adam", "adam", "pgd", "momentum_pgd"] = "sign_adam",
    adam_eps: PositiveFloat = 1e-8,
    loss: Literal["xent", "margin", "untargeted"] = "xent",
    match: Literal["cosine", "layers", "product", "squared"] = "cosine",
    layers: Count = 0,
    ensemble: PositiveInt = 1,
    surrogate: Count = 0,
    arch: str = "",
    augment: bool = True,
    shift: Fraction = 0.125,
    batch: PositiveInt = 512,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Poisoning:
    """Perturb images so that training on them gives the test image the class wanted; labels stay.

    The key decides everything, so that victims of all seeds are trained on one poison. Surrogates
    and restarts are each made once and kept: fewer restarts and smaller ensembles take the first.

    Args:
        view: what the attacker sees and may train.
        rng: not used.
        key: draws the true class, the class wanted, the image, and the images to be poisoned.
        instance: in place of what the key draws, SOURCE-WANTED-IMAGE, such as 3-5-17 for the 18th
            test image of class 3 to be read as class 5.
        budget: poisoned images, as a share of the training set; one at least.
        epsilon: largest change of a pixel's value, in levels of 255; with 0 the images stay as they
            are.
        poisons: class of the poisoned images: the one that is wanted, one that is neither it nor
            the true one, or any.
        restarts: descents from other starts, of which the best one's poison is taken.
        iterations: steps of a descent, each over all poisoned images.
        rate: of the descent, in levels of 255; divided by the ensemble's size.
        schedule: the rate falls to a tenth after 3, 5 and 7 eighths of the iterations.
        start: of a descent: normal (as wide as epsilon, clipped to it), uniform, or zero.
        optimizer: sign_adam is Adam on the slope's sign; pgd takes steps along the sign, as large
            as ``rate``, momentum_pgd up to ten times as large.
        adam_eps: what Adam adds to the root of the slope's mean square: 1e-8, and 1e-20 for adam,
            as slopes are below 1e-8 a level.
        loss: whose gradient is matched: the cross-entropy of the class wanted, its margin, or minus
            the cross-entropy of the true class.
        match: what is low where gradients match: 1 - cosine over all parameters or its mean over
            each, minus the scalar product, or the squared distance.
        layers: how many parameters are matched, those of the largest gradient; 0 for all.
        ensemble: surrogates, whose matches are averaged.
        surrogate: seed of the surrogates.
        arch: their architecture in one word, such as resnet18:width=16 or torchvision:vgg11_bn, so
            that poison meets victims of another; empty for the victim's. They are trained by its
            recipe.
        augment: poisons are shifted and, where the data set is, mirrored while they are made.
        shift: largest shift, as a share of the width; not to be given without ``augment``.
        batch: images at a time, as memory allows; it does not change the poison beyond rounding.
        precision: of the descent; bf16 is faster where the processor has it, and finds other
            poison. Restarts are compared in fp32.

    Raises:
        SpecError: there is no such instance, or too few images to poison.
    """
    train, test = view.train, view.targets()
    aimed = instance_of(test, key, instance)
    places = _places(train, aimed, key, budget, poisons)
    goal = InstanceGoal(torch.tensor([aimed.place]), torch.tensor([aimed.wanted]))
    implant = Implant(places, goal)
    if epsilon == 0:
        return Poisoning(train, (implant,))
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
        precision=precision,
        adam_eps=adam_eps,
    )
    decided: list[Scalar] = [
        aimed.place,
        aimed.wanted,
        key,
        budget,
        poisons,
        epsilon,
        iterations,
        rate,
        schedule,
    ]
    decided += [start, optimizer, loss, match, layers, ensemble, surrogate, brew.shift, brew.flip]
    decided += [precision] if precision != "fp32" else []
    decided += [adam_eps] if adam_eps != ADAM_EPS else []
    x, y = train.x[places], train.y[places]
    aims: list[Aim] = []  # made if a restart is not there

    def make(restart: int) -> Mapping[str, Tensor]:
        if not aims:
            models = [surrogates.surrogate(view, surrogate, member) for member in range(ensemble)]
            shown = to_float(test.x[aimed.place : aimed.place + 1])
            for model in models:
                here = shown.to(next(model.parameters()).device)
                aims.append(aim_of(model, here, loss, aimed.source, aimed.wanted, match, layers))
        return _brewed(brew, aims, x, y, key, restart)

    tried = [
        view.keep(f"poison: restart {i} of {canonical(decided)}", partial(make, i))
        for i in range(restarts)
    ]
    best = min(tried, key=lambda one: float(one["score"]))
    return Poisoning(replaced(train, places, best["images"].to(train.x.device), y), (implant,))


def check(
    view: AttackerView,
    /,
    *,
    key: int,
    instance: str,
    budget: float,
    poisons: str,
    arch: str,
    optimizer: str,
    adam_eps: float,
    augment: bool,
    shift: float,
    **_: object,
) -> None:
    """Refuse what cannot be attacked, and surrogates that do not take the images, before anything
    is trained. Raises SpecError.
    """
    check_descent(
        "witches_brew", optimizer=optimizer, adam_eps=adam_eps, augment=augment, shift=shift
    )
    if arch:
        view.fresh(0)
    _places(view.train, instance_of(view.targets(), key, instance), key, budget, poisons)


def instance_of(test: Images, key: int, instance: str) -> Instance:
    """What is attacked, drawn by the key or as it is written.

    Raises:
        SpecError: no such class or image, or one class twice.
    """
    if instance:
        return _written(test, instance)
    rng = Generator().manual_seed(derive(key, "instance"))
    known = torch.unique(test.y)
    if len(known) < 2:
        raise SpecError("witches_brew: the test images have one class, so none can be wanted.")
    source, wanted = known[torch.randperm(len(known), generator=rng)[:2]].tolist()
    own = (test.y == source).nonzero().flatten()
    place = own[int(torch.randint(len(own), (), generator=rng))]
    return Instance(int(place), source, wanted)


def _written(test: Images, instance: str) -> Instance:
    parts = instance.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise SpecError(
            "witches_brew: instance must be SOURCE-WANTED-IMAGE, such as 3-5-17, got "
            f"{instance[:40]!r}."
        )
    # int() takes some thousand digits at most
    source, wanted, number = (int(part.lstrip("0")[:10] or 0) for part in parts)
    own = (test.y == source).nonzero().flatten()
    if source == wanted or not max(source, wanted) < test.classes or not number < len(own):
        raise SpecError(
            f"witches_brew: instance {instance[:40]!r} names one class twice, or one beyond "
            f"{test.classes - 1}, or an image beyond the {len(own)} test images of its class."
        )
    return Instance(int(own[number]), source, wanted)


def _places(train: Images, aimed: Instance, key: int, budget: float, poisons: str) -> Tensor:
    """The images that are poisoned, in the order in which a smaller budget takes fewer."""
    rng = Generator().manual_seed(derive(key, "places"))
    m = max(1, math.ceil(budget * len(train) - 1e-9))
    if poisons == "any":
        return torch.randperm(len(train), generator=rng)[:m]
    target = aimed.wanted
    if poisons == "third":
        others = [c for c in range(train.classes) if c not in (aimed.source, aimed.wanted)]
        if not others:
            raise SpecError('witches_brew: poisons = "third" needs a third class; write "wanted".')
        target = others[int(torch.randint(len(others), (), generator=rng))]
    available = int((train.y == target).sum())
    if m > available:
        raise SpecError(
            f"witches_brew: budget = {budget:g} is {m} images, but class {target} has {available} "
            f"of {len(train)}. Lower it."
        )
    return chosen(train, m, rng, target, clean_label=True)


def _brewed(
    brew: Brew, aims: list[Aim], x: Tensor, y: Tensor, key: int, restart: int
) -> Mapping[str, Tensor]:
    """The poison of one descent, its score, and the match before each of its steps."""
    device = next(aims[0].model.parameters()).device
    x, y = x.to(device), y.to(device)
    rng = Generator().manual_seed(derive(key, "restart", restart))
    images, history = brew.poisons(aims, x, y, rng)
    fixed = Generator().manual_seed(derive(key, "score"))
    score = brew.score(aims, images, y, fixed)
    return {
        "images": images.cpu(),
        "score": torch.tensor(score, dtype=torch.float64),
        "history": torch.tensor(history, dtype=torch.float64),
    }
