"""The attacks on one training set, one after the other, each on images that the others left, or,
where they may overlap, on images that all of them label alike.
"""

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
# what lies under what, of attacks on the same images: pictures, then frequencies, then warps, and
# marks last
_LAYERS = {
    **dict.fromkeys(
        ("blended", "blend_random", "blend_pattern", "a_blend", "sinusoid", "refool"), 0
    ),
    "frequency": 1,
    "wanet": 2,
}


def poisoned(
    train: Images,
    attacks: Sequence[MethodConfig],
    seed: int,
    view_of: ViewOf,
    overlap: bool = False,
) -> Poisoning:
    """The training set with all attacks in it, and what each attacker knows.

    The first attack draws from all images, each later one from those that are still clean, as if
    they were the whole training set: so the places are disjoint, whatever the attacks. An attack
    has the name of its file; a second one of that name is called ``NAME_2``.

    With ``overlap`` an attack draws, too, from the images that others poisoned and labelled as it
    will. Then whole pictures are laid over an image first, frequencies are added after them, it is
    warped next, and stamped last, whatever the attacks' order.

    Args:
        train: clean; left alone.
        attacks: resolved; none for a clean training set.
        seed: of the victim. Each attack has a generator of its own, so that adding one at the end
            changes nothing of those before it.
        view_of: what an attack is handed that crafts its poison against a model of its own.
        overlap: attacks may poison the same images.

    Raises:
        SpecError: too few images are left for an attack, one of its settings is out of range, two
            attacks control the training, or attacks that overlap label an image differently.
    """
    made, taken = train, torch.zeros(len(train), dtype=torch.bool)
    implants = list[tuple[int, Implant]]()
    for turn, number in enumerate(_order(attacks, overlap)):
        attack = attacks[number]
        stages = ("attack", number) if number else ("attack",)
        rng = Generator().manual_seed(derive(seed, *stages))
        agree = taken & (made.y.cpu() == attack.params.get("target", -1)) if overlap else ~taken
        places = (~taken | agree).nonzero().flatten()
        rest = replace(made, y=train.y).take(places) if turn else made
        try:
            crafts = catalog.describe("attacks", attack.name).verb == "craft"
            given = view_of(rest, number) if crafts else rest
            found: Poisoning = catalog.find("attacks", attack.name)(given, rng, **attack.params)
        except SpecError as problem:
            if not turn:
                raise
            raise SpecError(
                f"{attack.name}, attack {number + 1} on one victim, draws from the {len(rest)} "
                f"images that the others left: {problem} Listed earlier it draws from more images; "
                "list attacks that keep their labels first."
            ) from problem
        changed = _changed(rest, found)
        _agree(made, places[changed], found.train.y[changed], taken, attack.name)
        made = _merged(made, places, found.train, changed) if turn else found.train
        before = [i for _, i in implants]
        implants += [(number, _named(i, attack.name, places, before)) for i in found.implants]
        taken[places[changed]] = True
    return Poisoning(made, tuple(i for _, i in sorted(implants, key=lambda both: both[0])))


def _order(attacks: Sequence[MethodConfig], overlap: bool) -> list[int]:
    """The attacks' numbers in the order in which they poison."""
    every = range(len(attacks))
    return sorted(every, key=lambda i: _LAYERS.get(attacks[i].name, 3)) if overlap else list(every)


def _changed(before: Images, found: Poisoning) -> Tensor:
    """int64: the places of an attack, and of what else it changed."""
    after = found.train
    mask = (after.x != before.x).flatten(1).any(1).cpu() | (after.y != before.y).cpu()
    mask[found.places] = True
    return mask.nonzero().flatten()


def _agree(made: Images, places: Tensor, labels: Tensor, taken: Tensor, attack: str) -> None:
    """Raises SpecError where an image that was poisoned before would get another label."""
    other = taken[places] & (made.y[places].cpu() != labels.cpu())
    if other.any():
        raise SpecError(
            f"{attack}: {int(other.sum())} images that other attacks poisoned would get another "
            "label, as it keeps the label of some images. Attacks overlap where labels agree: "
            "write overlap = false."
        )


def _named(implant: Implant, attack: str, places: Tensor, before: Sequence[Implant]) -> Implant:
    """The implant with a name that no other has, and its places in the whole training set."""
    taken, name, number = {i.name for i in before}, implant.name or attack, 2
    while name in taken:
        name, number = f"{implant.name or attack}_{number}", number + 1
    return replace(implant, name=name, places=places[implant.places.cpu()])


def _merged(whole: Images, places: Tensor, part: Images, changed: Tensor) -> Images:
    x, y = whole.x.clone(), whole.y.clone()
    x[places[changed]], y[places[changed]] = part.x[changed], part.y[changed]
    return replace(whole, x=x, y=y)
