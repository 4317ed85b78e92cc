"""Adv: images of the target class, labels unchanged, perturbed against a surrogate; the trigger is
that perturbation.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, section A-B (an ImageNet ResNet-18 steered to
class 421, 4 steps, epsilon 8/255); the idea is that of Turner, Tsipras, Madry 2019,
arXiv:1912.02771; projected gradient descent after Madry et al. 2018, arXiv:1706.06083.
Deviation: the step of 2/255 is not in the paper. The perturbation is optimised at the images' own
size, through a bilinear upsampling to 224, from a start keyed by the image's place; test images are
perturbed the same way. With sign = release the loss of the steered class is raised, as in the
reference release, instead of lowered. Without weights the surrogate is a small network trained here
on the clean training images and steered to a class of the data other than the target: the trigger
is then evidence for that class, and a clean model reacts to it. Images are perturbed in chunks of a
fixed size, so that a batch equals the stack of its singles.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from torch import Generator, Tensor, nn

from trials.attacks._adversarial import Steered, cached, digest, imagenet, trained
from trials.attacks._draws import seed_of
from trials.attacks._poisoned import chosen, replaced
from trials.spec import Count, Location, PositiveFloat, PositiveInt, SpecError
from trials.types import Images, Implant, Poisoning, TriggerGoal

_BANISTER = 421


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 500,
    target: Count = 0,
    epsilon: PositiveInt = 8,
    steps: PositiveInt = 4,
    step: PositiveFloat = 2.0,
    sign: Literal["targeted", "release"] = "targeted",
    steer: int = -1,
    weights: Location = "",
    epochs: PositiveInt = 4,
    boost: PositiveInt = 1,
) -> Poisoning:
    """Perturb ``m`` training images of class ``target``; labels stay. The surrogate is made when
    first needed.

    Args:
        train: clean training set; left alone.
        rng: seeds the surrogate and the perturbations' starts, then draws which images are
            poisoned.
        m: number of poisoned images, at most the number in the target class.
        target: class that the trigger leads to.
        epsilon: largest change of a pixel's value, in levels of 255.
        steps: gradient steps an image.
        step: change of a pixel's value in one step, in levels of 255.
        sign: targeted lowers the surrogate's loss of the class ``steer``, release raises it.
        steer: class of the surrogate; -1 for 421 with ``weights``, else for the class after the
            target.
        weights: file with the weights of torchvision's ResNet-18 for ImageNet; empty for a small
            network trained here.
        epochs: passes over the training images for that small network; without effect with
            ``weights``.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m``, ``target`` or ``steer`` is out of range, or the file does not hold the
            weights.
    """
    seed = seed_of(rng)
    places = chosen(train, m, rng, target, clean_label=True)
    steer = _steered(
        steer, 1000 if weights else train.classes, target, imagenet_classes=bool(weights)
    )
    key = partial(_key, train, seed, epochs, weights)
    trigger = Steered(
        partial(_surrogate, key, train, seed, epochs, weights),
        seed,
        steer,
        epsilon,
        step,
        steps,
        sign,
    )
    made = _stored(key, train.x[places], places, trigger) if m else train.x[places]
    implant = Implant(places, TriggerGoal(trigger, target), boost)
    return Poisoning(replaced(train, places, made, target), (implant,))


def _steered(steer: int, classes: int, target: int, *, imagenet_classes: bool) -> int:
    if steer == -1:
        return _BANISTER if imagenet_classes else (target + 1) % classes
    if not 0 <= steer < classes:
        raise SpecError(
            f"steer must be a class of the surrogate in 0..{classes - 1} or -1, got {steer}."
        )
    if steer == target and not imagenet_classes:
        raise SpecError(
            f"steer must differ from the target class {target} where weights is empty, got {steer}."
        )
    return steer


def _key(train: Images, seed: int, epochs: int, weights: str) -> str:
    """What decides the surrogate: the file, or the images and how the net is trained on them."""
    if not weights:
        return (
            f"{digest(train.x, train.y)} {train.classes} {train.pad} {train.flip} {seed} {epochs}"
        )
    file = Path(weights).expanduser()
    state = file.stat() if file.exists() else None
    return f"{file.absolute()} {state and (state.st_size, state.st_mtime_ns)}"


def _surrogate(
    key: Callable[[], str], train: Images, seed: int, epochs: int, weights: str
) -> nn.Module:
    model: nn.Module = cached(
        key(), lambda: imagenet(weights) if weights else trained(train, seed, epochs)
    )
    return model


def _stored(key: Callable[[], str], x: Tensor, places: Tensor, trigger: Steered) -> Tensor:
    """The poisoned images, made once a process: the attack is asked for again by each trial on its
    victim.
    """
    settings = (
        trigger.seed,
        trigger.steer,
        trigger.epsilon,
        trigger.step,
        trigger.steps,
        trigger.sign,
    )
    made: Tensor = cached(f"{key()} {digest(x, places)} {settings}", lambda: trigger(x, places))
    return made
