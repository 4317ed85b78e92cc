"""The attacks on one training set, one after the other, each on images that the others left."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor

from trials import catalog
from trials.spec import MethodConfig, SpecError, derive
from trials.types import Images, Implant, Poisoning
from trials.views import AttackerView

# what an attack that crafts its poison is handed, of the images it may take and its number
ViewOf = Callable[[Images, int], AttackerView]


def poisoned(
    train: Images, attacks: Sequence[MethodConfig], seed: int, view_of: ViewOf
) -> Poisoning:
    """The training set with all attacks in it, and what each attacker knows.

    The first attack draws from all images, each later one from those that are still clean, as if
    they were the whole training set: so the places are disjoint, whatever the attacks. An attack
    has the name of its file; a second one of that name is called ``NAME_2``.

    Args:
        train: clean; left alone.
        attacks: resolved; none for a clean training set.
        seed: of the victim. Each attack has a generator of its own, so that adding one at the end
            changes nothing of those before it.
        view_of: what an attack is handed that crafts its poison against a model of its own.

    Raises:
        SpecError: too few images are left for an attack, one of its settings is out of range, or
            two attacks control the training.
    """
    made, clean = train, torch.arange(len(train))
    implants: list[Implant] = []
    for number, attack in enumerate(attacks):
        stages = ("attack", number) if number else ("attack",)
        rng = Generator().manual_seed(derive(seed, *stages))
        rest = made.take(clean) if number else made
        try:
            crafts = catalog.describe("attacks", attack.name).verb == "craft"
            given = view_of(rest, number) if crafts else rest
            found: Poisoning = catalog.find("attacks", attack.name)(given, rng, **attack.params)
        except SpecError as problem:
            if not number:
                raise
            raise SpecError(
                f"{attack.name}, attack {number + 1} on one victim, draws from the {len(rest)} "
                f"images that the others left: {problem} Listed earlier it draws from more images; "
                "list attacks that keep their labels first."
            ) from problem
        made = _merged(made, clean, found.train) if number else found.train
        implants += [_named(i, attack.name, clean, implants) for i in found.implants]
        clean = _without(clean, found.places)
    return Poisoning(made, tuple(implants))


def _named(implant: Implant, attack: str, clean: Tensor, before: Sequence[Implant]) -> Implant:
    """The implant with a name that no other has, and its places in the whole training set."""
    taken, name, number = {i.name for i in before}, implant.name or attack, 2
    while name in taken:
        name, number = f"{implant.name or attack}_{number}", number + 1
    return replace(implant, name=name, places=clean[implant.places.cpu()])


def _merged(whole: Images, places: Tensor, part: Images) -> Images:
    x, y = whole.x.clone(), whole.y.clone()
    x[places], y[places] = part.x, part.y
    return replace(whole, x=x, y=y)


def _without(places: Tensor, taken: Tensor) -> Tensor:
    kept = torch.ones(len(places), dtype=torch.bool)
    kept[taken] = False
    return places[kept]
