"""Which of a given model's outputs each class is, where nobody says: the orders that people have,
tried on a few of the trusted images.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

import torch
from torch import Tensor

from results.selection.labels import percent
from sweep.commands.understanding import SAMPLE, SURE, limit
from trials import catalog, splits
from trials.datasets._class_map import IMAGENET, INDEX, outputs_of
from trials.datasets._folders import ordered
from trials.metrics import predictions
from trials.runtime import TrialRuntime, generator
from trials.spec import MethodConfig, Scalar, SpecError, Victim
from trials.types import Images
from trials.weights.files import load_weights
from trials.weights.files import outputs_of as outputs_of_file

LEAD = 0.05  # accuracy by which an order must lead
NAMED = 3  # classes that a sentence names


@dataclass(frozen=True, slots=True)
class ClassOrder:
    """Which output each class is, as settings of the data set, and how that came.

    Attributes:
        order: of the names; None as it was.
        classes: ``imagenet``, ``index`` or a file; empty where the classes are all outputs in
            their order.
        outputs: of the model, with ``classes``.
        said: a sentence for a person; empty where nothing was taken.
    """

    order: str | None = None
    classes: str = ""
    outputs: int = 0
    said: str = ""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An order, what it is called, and the output of each class in it."""

    taken: ClassOrder
    what: str
    of_class: tuple[int, ...]


def class_order(runtime: TrialRuntime, victim: Victim, *, told: bool) -> ClassOrder:
    """How the classes of the trusted images go with the model's outputs.

    Args:
        runtime: where the model runs.
        victim: a given model with a data set that has the settings order and classes.
        told: the user has said which order it is.

    Raises:
        SpecError: images or weights cannot be read, or the classes are not those of ``classes``.
    """
    train = runtime.poisoning(victim).train
    weights = str(victim.training.params["weights"])
    number = outputs_of_file(runtime.fresh(victim), weights, train.logits)
    classes = str(victim.dataset.params["classes"])
    if number is None or (told and not classes):
        return ClassOrder()  # does not fit, which is said later; or is in order
    if classes:
        return _told(train, classes, number)
    order = str(victim.dataset.params["order"])
    found = list(_candidates(train, order, number, Path(weights).parent))
    if not found:
        return ClassOrder()
    few = train.take(_sample(train))
    if number == train.classes:
        return _leading(found, _raw(runtime, victim, few), few, order)
    victim = _with(victim, found[0].taken)
    raw = torch.tensor(runtime.poisoning(victim).train.outputs)[_raw(runtime, victim, few)]
    best = max(found, key=lambda one: _share(one, raw, few))
    return _said(best, _share(best, raw, few), few, f"the model has {number:,} outputs")


def with_order(victim: Victim, taken: ClassOrder) -> Victim:
    """The victim with its classes in that order."""
    return _with(victim, taken) if taken != ClassOrder() else victim


def _candidates(images: Images, order: str, number: int, beside: Path) -> Iterator[_Candidate]:
    """The orders in which the classes could be the model's ``number`` outputs."""
    names, k = images.names, images.classes
    other = "text" if order == "numbers" else "numbers"
    if number == k and (there := ordered(names, other)) != list(names):
        places = tuple(there.index(name) for name in names)
        yield _Candidate(ClassOrder(other), f"sorted as {other}", places)
    maps = {str(beside / "config.json"): "by the names in config.json beside the model"}
    maps |= {IMAGENET: "ImageNet's", INDEX: "each name as the number of its output"}
    for classes, what in maps.items():
        taken = ClassOrder(None, classes, number)
        with suppress(SpecError):  # no such file, other names, or another number of outputs
            of_class, known = outputs_of(names, "classes", classes, number)
            known_all = classes == INDEX or _knows(classes, number)
            if known == number and known_all and of_class != list(range(number)):
                yield _Candidate(taken, what, tuple(of_class))


def _knows(classes: str, number: int) -> bool:
    """Whether the map knows of just so many outputs."""
    return outputs_of((), "classes", classes)[1] == number


def _sample(images: Images) -> Tensor:
    order = splits.stratified_order(
        images.y, torch.arange(len(images)), generator(0, "class order")
    )
    return order[:SAMPLE]


def _raw(runtime: TrialRuntime, victim: Victim, few: Images) -> Tensor:
    """The logit that is largest for each image, int64 (n,)."""
    model = runtime.fresh(victim)
    load_weights(model, str(victim.training.params["weights"]))
    try:
        return predictions(model, few.x).cpu()
    except ArithmeticError:  # said where all images are looked at
        return torch.full_like(few.y, -1)


def _right(one: _Candidate, raw: Tensor, few: Images) -> Tensor:
    return raw == torch.tensor(one.of_class)[few.y]


def _share(one: _Candidate, raw: Tensor, few: Images) -> float:
    return float(_right(one, raw, few).double().mean())


def _leading(found: list[_Candidate], raw: Tensor, few: Images, order: str) -> ClassOrder:
    """The order that leads clearly, where in the one given the model does not know its images."""
    as_is = _Candidate(ClassOrder(), f"sorted as {order}", tuple(range(few.classes)))
    given, least = _share(as_is, raw, few), limit(few.classes)
    if given >= least:
        return ClassOrder()
    best, *others = sorted(found, key=lambda one: -_share(one, raw, few))
    rest = [as_is, *(one for one in others if one.of_class != best.of_class)]
    share = _share(best, raw, few)
    if share < least or not all(_clearly(best, one, raw, few) for one in rest):
        return ClassOrder()
    why = f"{as_is.what} {percent(given)} %, as chance would have it"
    return _said(best, share, few, why)


def _clearly(best: _Candidate, other: _Candidate, raw: Tensor, few: Images) -> bool:
    now, then = _right(other, raw, few), _right(best, raw, few)
    won, lost = int((then & ~now).sum()), int((now & ~then).sum())
    return bool(won - lost > max(LEAD * len(few), SURE * (won + lost) ** 0.5))


def _said(best: _Candidate, share: float, few: Images, why: str) -> ClassOrder:
    pairs = sorted(zip(few.names, best.of_class, strict=True), key=itemgetter(1))
    taken = best.taken
    option = f"--classes {taken.classes}" if taken.classes else f"--order {taken.order}"
    said = (
        f"Class order: {best.what} ({_named(pairs)}), as {option} says: of {len(few)} images "
        f"{percent(share)} % are right so; {why}."
    )
    return replace(taken, said=said)


def _told(train: Images, classes: str, number: int) -> ClassOrder:
    """The order that the user has named."""
    own = train.outputs or range(train.classes)
    pairs = zip(train.names, own, strict=False)
    said = f"Class order, by {classes}: {_named(pairs)}; the model has {number:,} outputs."
    return ClassOrder(None, classes, number, said)


def _named(pairs: Iterable[tuple[str, int]]) -> str:
    """The first classes and their outputs."""
    first, *others = (f"{name!r} is output {output}" for name, output in pairs)
    return ", ".join([first, *others[: NAMED - 1], *(["..."] if len(others) >= NAMED else [])])


def _with(victim: Victim, taken: ClassOrder) -> Victim:
    own: dict[str, Scalar] = {"order": taken.order} if taken.order else {}
    if taken.classes:
        own = {"classes": taken.classes, "outputs": taken.outputs}
    data = victim.dataset
    return catalog.resolve_victim(
        replace(victim, dataset=MethodConfig(data.name, {**data.params, **own}))
    )
