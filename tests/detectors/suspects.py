"""Suspects of this folder: small nets on five digits, clean, with a patch, or with an additive
pattern as backdoor.
"""

from dataclasses import dataclass, replace

import torch
from planted import goal_of, planted, trigger_of
from torch import Generator, Tensor, nn

from trials import catalog
from trials.metrics import accuracy, success
from trials.types import DefenderView, Images, Poisoning, Trigger

TARGET, CLASSES, SIZE = 3, 5, 8


@dataclass(frozen=True)
class Suspect:
    """A trained net, a repaired copy of it, and the facts of its backdoor before and after."""

    model: nn.Module
    repaired: nn.Module
    cda: float
    asr: float
    cda_repaired: float
    asr_repaired: float


@dataclass(frozen=True)
class Additive:
    """Adds ``pattern`` (c, h, w) in [-1, 1] to every image and clips."""

    pattern: Tensor

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        return (x / 255 + self.pattern).clamp(0, 1).mul(255).round().to(torch.uint8)


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def digits(split: str) -> Images:
    """The digits 0 to 4 at 8 pixels."""
    images: Images = catalog.find("datasets", "digits")(split, size=SIZE)
    return replace(images.take(images.y < CLASSES), classes=CLASSES)


def trusted() -> Images:
    """Every third training image."""
    return digits("train").take(torch.arange(len(digits("train"))) % 3 == 0)


def pattern() -> Tensor:
    """Each channel of each pixel a quarter brighter or darker."""
    return (torch.rand(3, SIZE, SIZE, generator=seeded(7)) < 0.5).float() / 2 - 0.25


def backdoor(kind: str, seed: int) -> Poisoning:
    """Of a ``clean`` model, one with a ``patch``, or one with an ``additive`` trigger; the target
    is ``TARGET``.
    """
    train = digits("train")
    attack = catalog.find("attacks", "badnets")
    plain: Poisoning = attack(
        train, seeded(seed), m=0 if kind == "clean" else 100, target=TARGET, patch=3
    )
    if kind != "additive":
        return plain
    trigger, places = Additive(pattern()), plain.places
    x = train.x.clone()
    x[places] = trigger(x[places], places)
    return planted(replace(plain.train, x=x), places, trigger, TARGET)


def untaught(images: Images, trigger: Trigger) -> Images:
    """The images, and all of them stamped, with their true labels: who tunes on these unlearns the
    trigger.
    """
    marked = trigger(images.x, torch.arange(len(images)))
    return replace(images, x=torch.cat([images.x, marked]), y=images.y.repeat(2))


def suspect(kind: str, seed: int) -> Suspect:
    """Trains one and repairs it as well as can be: with the trigger at hand.

    A clean one unlearns the patch.
    """
    test, found = digits("test"), backdoor(kind, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = catalog.find("models", "small_cnn")(CLASSES, SIZE, width=16, norm="half")
    for _ in catalog.find("recipes", "fast")(
        model, found, seeded(seed), epochs=10, batch=32, peak=0.2
    ):
        pass
    view = DefenderView(model, untaught(trusted(), trigger_of(found)))
    repair = catalog.find("defenses", "fine_tuning")
    _, repaired = list(repair(view, seeded(seed), 999, steps=80, lr=0.03, batch=32))[-1]
    triggered = goal_of(found).cases(test)
    facts = [f for m in (model, repaired) for f in (accuracy(m, test), success(m, triggered))]
    return Suspect(model.eval(), repaired.eval(), *facts)
