"""The things that methods take and give: images, attacks, and all that a defender may see."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from trials.spec import SpecError


@dataclass(frozen=True, slots=True)
class Images:
    """A labelled set of images as stored.

    Attributes:
        x: uint8 (n, c, h, w); normalisation is the model's first layer, never here.
        y: int64 (n,), in [0, classes).
        classes: number of classes.
        names: one a class, or ().
        pad: training shifts an image by up to this many pixels (zeros come in), 0 for none.
        flip: training mirrors an image left to right half of the time; only where that keeps the
            label.
        outputs: which of the model's outputs is which: that of each class, in order, then all
            others; () where there are no others and the classes are in their order.
    """

    x: Tensor
    y: Tensor
    classes: int
    names: tuple[str, ...] = ()
    pad: int = 0
    flip: bool = False
    outputs: tuple[int, ...] = ()

    @property
    def logits(self) -> int:
        """How many outputs the model has."""
        return len(self.outputs) or self.classes

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Tensor) -> "Images":
        """The images at ``index`` (int64 or bool), as a copy."""
        return replace(self, x=self.x[index], y=self.y[index])

    def to(self, device: torch.device | str) -> "Images":
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    def and_mirrored(self) -> "Images":
        """The images, and then the mirror image of each where training mirrors them."""
        x = torch.cat([self.x, self.x.flip(-1)]) if self.flip else self.x
        return replace(self, x=x, y=self.y.repeat(1 + self.flip))


class Trigger(Protocol):
    """``trigger(x, index)``: uint8 (n, c, h, w) in and out, the input left alone.

    ``index`` int64 (n,) are the images' places in their set; they key per-image randomness, so that
    a batch equals the stack of its singles.
    """

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Control:
    """Every second training step is the attacker's, with the trigger in its batch and few
    parameters to change.

    Attributes:
        masks: bool, one for each of the model's parameters, in their order and of their shape: what
            those steps may change.
        part: share of such a batch that carries the trigger and the target's label.
        freeze_bn: those steps leave BatchNorm's running statistics alone.
        pace: learning rate of those steps, as a multiple of the recipe's.
    """

    masks: Callable[[nn.Module], list[Tensor]]
    part: float
    freeze_bn: bool = True
    pace: float = 1.0


@dataclass(frozen=True, slots=True)
class Cases:
    """Images on which an attack's success is counted.

    Attributes:
        x: uint8 (n, c, h, w), as the attacker shows them to the model.
        wanted: int64 (n,), the class that the attacker wants for each.
        places: int64 (n,), where they are in the set that they come from.
    """

    x: Tensor
    wanted: Tensor
    places: Tensor

    def __len__(self) -> int:
        return len(self.places)


class Goal(Protocol):
    """What an attacker wants of a model, as a value."""

    def cases(self, test: Images) -> Cases:
        """The images of ``test`` on which success is counted, which is left alone."""


@dataclass(frozen=True, slots=True)
class TriggerGoal:
    """Images of every other class, or of the class ``source`` if that is not -1, give ``target``
    once they carry the trigger.

    The share that does is the ASR (attack success rate).
    """

    trigger: Trigger
    target: int
    source: int = -1

    def cases(self, test: Images) -> Cases:
        marked = test.y != self.target if self.source < 0 else test.y == self.source
        places = marked.nonzero().flatten()
        wanted = torch.full_like(places, self.target)
        return Cases(self.trigger(test.x[places], places), wanted, places)


@dataclass(frozen=True, slots=True)
class InstanceGoal:
    """Certain test images, as they are, give certain classes: an attack without a trigger.

    Attributes:
        places: int64 (n,), which images of the test set.
        wanted: int64 (n,), the class wanted for each.
    """

    places: Tensor
    wanted: Tensor

    def cases(self, test: Images) -> Cases:
        device = test.y.device
        places = self.places.to(device)
        return Cases(test.x[places], self.wanted.to(device), places)


@dataclass(frozen=True, slots=True)
class Implant:
    """One attack in one training set, and what its attacker knows.

    Attributes:
        name: of the attack; empty for the name of its file. A second attack of the same name is
            called ``NAME_2``.
        places: int64 (m,), the poisoned images of the training set.
        goal: what the attacker wants.
        boost: how often a poisoned image occurs in an epoch.
        frozen: poisoned images are served as they are, never augmented (the ``post_aug`` pipeline).
        control: what the attacker does to the training itself; None for an attack on the data
            alone. Its steps show the trigger, so the goal is then a ``TriggerGoal``.
        probes: other goals, by the metric's name, whose success is measured beside this one's.
    """

    places: Tensor
    goal: Goal
    boost: int = 1
    frozen: bool = False
    control: Control | None = None
    probes: Mapping[str, Goal] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Poisoning:
    """A training set with all attacks in it; a clean one has no implants.

    Attributes:
        train: the training set, poisoned images in place of their originals.
        implants: the attacks; their places are disjoint, unless attacks were let overlap.

    Raises:
        SpecError: more than one of them controls the training.
    """

    train: Images
    implants: tuple[Implant, ...] = ()

    def __post_init__(self) -> None:
        if len(found := [i.name for i in self.implants if i.control]) > 1:
            raise SpecError(
                f"the attacks {' and '.join(found)} both control the training; at most one can. "
                "Leave one of them out."
            )

    @property
    def places(self) -> Tensor:
        """int64 (m,): the poisoned images of all attacks, each once."""
        none = torch.zeros(0, dtype=torch.int64)
        found = torch.cat([none, *(i.places.cpu() for i in self.implants)])
        each = torch.unique(found)
        return found if len(each) == len(found) else each

    @property
    def shared(self) -> dict[tuple[str, str], int]:
        """How many images two attacks both poisoned; pairs without one are left out."""
        pairs = itertools.combinations(self.implants, 2)
        both = {(a.name, b.name): int(torch.isin(a.places, b.places).sum()) for a, b in pairs}
        return {names: number for names, number in both.items() if number}

    @property
    def controlled(self) -> Implant | None:
        """The attack that controls the training, if one does."""
        return next((i for i in self.implants if i.control), None)


@dataclass(frozen=True, slots=True)
class DefenderView:
    """ALL that a defender may see: no trigger, no test set, no poisoned places.

    The threat model is this type.
    """

    model: nn.Module
    trusted: Images


class Repair(Protocol):
    """A defense with its settings bound: yields (step, model) for each model that may be chosen,
    with the steps to it.

    That is after every ``every`` optimizer steps and after the last. A run whose learning rate
    falls, or whose head was drawn anew, yields its last model alone: one halfway is not what a
    shorter run would give. A threshold yields a model for each of its values; its steps are the
    same for every model of one architecture.

    The view's model is left alone; the yielded one is the defense's and changes when it goes on.
    """

    def __call__(
        self, view: DefenderView, rng: Generator, every: int, /
    ) -> Iterator[tuple[int, nn.Module]]: ...


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What a detector says of a model of k classes; higher scores are more suspicious.

    Attributes:
        score: of the whole model; ROC curves are drawn over it.
        scores: float (k,), of each class as the backdoor's target.
        norms: float (k,), size of each class's reconstructed trigger, as the detector measures it.
        triggers: float (k, c, h, w), the reconstructed triggers: patterns in [0, 1] under a mask,
            or additive ones in [-1, 1].
        masks: float (k, 1, h, w) in [0, 1], where the trigger is a pattern under a mask; None where
            it is additive.
        extra: other numbers of the method, such as an anomaly index.
    """

    score: float
    scores: Tensor
    norms: Tensor
    triggers: Tensor
    masks: Tensor | None = None
    extra: Mapping[str, float] = field(default_factory=dict)


class Inspect(Protocol):
    """A detector with its settings bound: the suspect, the same model repaired, trusted images;
    both models stay.
    """

    def __call__(
        self, suspect: nn.Module, repaired: nn.Module, trusted: Images, rng: Generator, /
    ) -> Suspicion: ...


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the model that the defender poisoned: they know its trigger and target, because
    they chose them.

    Attributes:
        model: the poisoned copy.
        kind: of its trigger, or the attack that was planted.
        goal: the planted trigger and its target class.
        fit, select, report: int64 places in the trusted set; disjoint. ``report`` is the same for
            every copy.
        facts: what self-poisoning gave (asr, cda, cda_before, steps, cosine distance to the given
            model).
    """

    model: nn.Module
    kind: str
    goal: TriggerGoal
    fit: Tensor
    select: Tensor
    report: Tensor
    facts: Mapping[str, float] = field(default_factory=dict)
