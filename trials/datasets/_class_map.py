"""Which of a model's outputs each class is, where these are not the classes in their order: another
order, or a head with more outputs, such as ImageNet's 1,000 and images of ten of its classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from trials.datasets import _class_files, _imagenet_classes
from trials.datasets._files import expanded
from trials.spec import SpecError
from trials.types import Images

IMAGENET, INDEX = "imagenet", "index"
MOST = 100_000  # outputs of a model
_NAMED = 3  # classes that an error names


def arranged(images: Images, method: str, order: str, classes: str, outputs: int) -> Images:
    """The images with their classes in the order of the model's outputs.

    Args:
        images: classes in the order of their names.
        method: the data set's name, for errors.
        order: of the names, as the user gave it.
        classes: ``imagenet``, ``index`` or a file; empty: the classes are the outputs.
        outputs: of the model; 0 for as many as ``classes`` knows of.

    Raises:
        SpecError: a class is none of the outputs, two are the same one, or settings exclude each
            other.
    """
    if not classes:
        if outputs:
            raise SpecError(
                f"{method}: outputs is {outputs}, but classes does not say which of them each "
                "class is. Set classes too, or leave outputs out."
            )
        return images
    if order != "numbers":
        raise SpecError(
            f"{method}: classes says which output each class is, so leave order = {order!r} out."
        )
    of_class, number = outputs_of(images.names, method, classes, outputs)
    places = sorted(range(len(of_class)), key=of_class.__getitem__)
    others = sorted(set(range(number)) - set(of_class))
    whole = (*(of_class[i] for i in places), *others)
    label = torch.tensor(places).argsort()
    return replace(
        images,
        y=label[images.y],
        names=tuple(images.names[i] for i in places),
        outputs=() if whole == tuple(range(len(places))) else whole,
    )


def outputs_of(
    names: Sequence[str], method: str, classes: str, outputs: int = 0
) -> tuple[list[int], int]:
    """The output of each name, and the number of outputs; the arguments and errors are those of
    ``arranged``.
    """
    called, number = _known(method, classes)
    found = [_one(name, called(name), method, classes) for name in names]
    number = outputs or max([number, *(output + 1 for output in found)])
    if number > MOST:
        raise SpecError(f"{method}: a model of {number:,} outputs; {MOST:,} at most.")
    for i, output in enumerate(found):
        if output >= number:
            raise SpecError(
                f"{method}: classes: {names[i]!r} is output {output}, but the model has {number} "
                f"(0 to {number - 1})."
            )
        if (other := found.index(output)) < i:
            raise SpecError(
                f"{method}: classes: {names[other]!r} and {names[i]!r} are both output {output}. "
                "Put their images into one class, or mend the file."
            )
    return found, number


def _known(method: str, classes: str) -> tuple[Callable[[str], tuple[int, ...]], int]:
    """What gives a name's outputs, and how many there are; 0 where that is not known."""
    if classes == IMAGENET:
        return _imagenet_classes.outputs_called, len(_imagenet_classes.SYNSETS)
    if classes == INDEX:
        return _number, 0
    file = expanded(method, classes)
    if not file.is_file():
        raise SpecError(
            f"{method}: classes is {classes!r}, which is no file. Accepted: {IMAGENET}, {INDEX}, "
            "or a text, CSV or JSON file of names and outputs."
        )
    names = _class_files.read(method, Path(file))
    return names.outputs, names.number


def _number(name: str) -> tuple[int, ...]:
    return (int(name),) if name.isdecimal() and int(name[-7:]) == int(name) < MOST else ()


def _one(name: str, found: tuple[int, ...], method: str, classes: str) -> int:
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(map(str, found[:_NAMED]))
        raise SpecError(
            f"{method}: classes: {name!r} is the name of several outputs ({several}). Name the "
            "class by its number or synset, or write a file that says which it is."
        )
    what = {IMAGENET: "a synset, number or name of ImageNet", INDEX: "the number of an output"}
    raise SpecError(
        f"{method}: classes: {name!r} is not {what.get(classes, f'in {classes!r}')}. Every class "
        "needs an output."
    )
