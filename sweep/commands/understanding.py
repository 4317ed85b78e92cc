"""What a given model makes of its trusted images, read as asked for and in other ways; a few
forward passes in all.
"""

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from results.selection.labels import percent
from results.selection.understood import Class, Reading, Understood
from sweep.commands.orders import exchanged, other_order
from trials import catalog, splits
from trials.architecture import LIVE, written
from trials.datasets import image_folder, image_table
from trials.datasets._survey import Survey
from trials.metrics import predictions
from trials.models._normalize import Normalize
from trials.normalisation import CONSTANTS
from trials.runtime import TrialRuntime, generator
from trials.spec import Scalar, SpecError, Victim
from trials.types import Images
from trials.weights.files import load_weights
from trials.weights.shards import files_of

SAMPLE = 500  # images, at most, that each other reading is tried on
NAMED = 3  # pairs of images that a warning names
GAIN = 0.02  # accuracy by which another reading has to be better to be told of
SURE = 3.0  # standard deviations by which more images are won than lost
Change = Callable[[Tensor], Tensor]
SURVEYED = {"image_folder": image_folder.surveyed, "image_table": image_table.surveyed}


def understand(runtime: TrialRuntime, victim: Victim, order: str = "") -> Understood:
    """Look at the images and at the model's answers to them.

    Args:
        runtime: where the model runs.
        victim: a given model with an ``image_folder`` or ``image_table``.
        order: a sentence on the order of the classes, for the user.

    Raises:
        SpecError: the model does not know its trusted images: wrong class order, size,
            normalisation or checkpoint.
    """
    images, model = runtime.poisoning(victim).train, runtime.fresh(victim)
    taken = load_weights(model, str(victim.training.params["weights"]))
    data = victim.dataset.params
    seen = SURVEYED[victim.dataset.name](data)
    guessed = _guessed(model, images)
    sample = splits.stratified_order(images.y, torch.arange(len(images)), generator(0, "sample"))[
        :SAMPLE
    ]
    few, right = images.take(sample), guessed[sample] == images.y[sample]
    tried = _tried(model, few)
    # in the wrong order no other reading can be judged
    read = _wrong_order(images, guessed, data) or [
        *_reread(victim, tried, right),
        *([] if images.outputs else exchanged(images.y, guessed, images.names)),
    ]
    warnings = [*_unseen(images), *_twice(seen), *read]
    if data["flip"]:
        warnings += _mirrored(model, few, right)
    accuracy = _share(guessed == images.y)
    found = Understood(
        model_sha256=_digest(Path(str(victim.training.params["weights"]))),
        images_sha256=seen.sha256,
        images=len(images),
        size=int(data["size"]),
        flip=bool(data["flip"]),
        classes=_classes(images, guessed),
        skipped=seen.skipped,
        examples=seen.examples,
        converted=seen.converted,
        accuracy=accuracy,
        sample=len(few),
        as_given=_share(right),
        readings=tuple(
            sorted((Reading(n, _share(r)) for n, r in tried.items()), key=lambda r: -r.accuracy)
        ),
        warnings=tuple(warnings),
        weights=taken.line(),
        order=order,
    )
    _known(found)
    return found


def limit(classes: int) -> float:
    """The accuracy below which a model does not know its trusted images: chance and 15 % of the way
    to all right.
    """
    return 1 / classes + 0.15 * (1 - 1 / classes)


def _known(found: Understood) -> None:
    classes = len(found.classes)
    if found.accuracy >= limit(classes):
        return
    names = ", ".join(c.name for c in found.classes[:4])
    check = (
        f"Check that its outputs are in the order of the classes ({names}, ...), and --size, "
        "--arch and its norm setting."
    )
    said = (
        f"the model gets {found.accuracy:.1%} of the trusted images right (chance is "
        f"{1 / classes:.1%})."
    )
    raise SpecError(" ".join([said, *(found.warnings or [check])]))


def _wrong_order(images: Images, guessed: Tensor, data: Mapping[str, Scalar]) -> list[str]:
    """A sentence where the names fit better in the other order; none where the order is given by
    their outputs.
    """
    if data.get("classes"):
        return []
    return other_order(images.y, guessed, images.names, str(data["order"]))


def _unseen(images: Images) -> list[str]:
    """A warning where the model has outputs of which there are no images."""
    if not (number := images.logits - images.classes):
        return []
    return [
        f"the model has {images.logits:,} outputs, and the trusted images are of {images.classes} "
        f"of them: a backdoor whose target is one of the other {number:,} is not looked for, and "
        "what a repair does to their classes is not measured."
    ]


def _twice(seen: Survey) -> list[str]:
    """A warning where the same image lies in two classes, so that one of its labels is wrong."""
    if not seen.twice:
        return []
    pairs = [f"{here!r} and {other!r}" for here, other in seen.twice[:NAMED]]
    extra = f", and {len(seen.twice) - NAMED} more" if len(seen.twice) > NAMED else ""
    one = len(seen.twice) == 1
    return [
        f"{len(seen.twice)} {'image is' if one else 'images are'} in two classes, once in each: "
        f"{'; '.join(pairs)}{extra}. Remove the one whose class is wrong."
    ]


def _guessed(model: nn.Module, images: Images) -> Tensor:
    try:
        return predictions(model, images.x).cpu()
    except ArithmeticError as problem:
        raise SpecError(
            f"on the trusted images, {problem}. Is --model a whole checkpoint, made for --arch?"
        ) from problem


def _classes(images: Images, guessed: Tensor) -> tuple[Class, ...]:
    found, names = [], [*images.names]
    names += [f"output {output}" for output in images.outputs[images.classes :]]
    for label in range(images.classes):
        counts = torch.bincount(guessed[images.y == label], minlength=len(names))
        number, hits = int(counts.sum()), int(counts[label])
        counts[label] = 0
        other = names[int(counts.argmax())] if counts.any() else ""
        found.append(Class(names[label], number, hits / number, other))
    return tuple(found)


class _Changed(nn.Module):
    """A model that is given changed pixels."""

    def __init__(self, model: nn.Module, change: Change) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(self.change(x))
        return logits


def _tried(model: nn.Module, few: Images) -> dict[str, Tensor]:
    """For each other reading by its name: which of the images the model gets right."""
    found = {}
    for name, change in _readings(model, coloured=bool((few.x[:, 0] != few.x[:, 2]).any())).items():
        try:
            found[name] = predictions(_Changed(model, change), few.x).cpu() == few.y
        except ArithmeticError:  # far from what it was trained on; then that reading is not the one
            continue
    return found


def _readings(model: nn.Module, *, coloured: bool) -> dict[str, Change]:
    """Pixels changed so that the model's own normalisation makes of them what another would have
    made.
    """
    first = next((m for m in model.modules() if isinstance(m, Normalize)), None)
    found: dict[str, Change] = {}
    if first is not None:
        mean, std = first.mean, first.std
        own = (mean[:, None, None], std[:, None, None])
        for name, constants in CONSTANTS.items():
            m, s = (torch.tensor(c, device=mean.device)[:, None, None] for c in constants)
            if not (torch.allclose(m, own[0], atol=1e-4) and torch.allclose(s, own[1], atol=1e-4)):
                found[f"norm={name}"] = functools.partial(_renormalised, m, s, *own)
    if not coloured:  # then BGR is RGB
        return found
    turned = {f"{name}, BGR": _turned(change) for name, change in found.items()}
    return {**found, "BGR": lambda x: x.flip(1), **turned}


def _renormalised(
    mean: Tensor, std: Tensor, own_mean: Tensor, own_std: Tensor, x: Tensor
) -> Tensor:
    return (x - mean) / std * own_std + own_mean


def _turned(change: Change) -> Change:
    return lambda x: change(x.flip(1))


def _better(now: Tensor, then: Tensor) -> bool:
    won, lost = int((then & ~now).sum()), int((now & ~then).sum())
    return bool(won - lost > max(GAIN * len(now), SURE * (won + lost) ** 0.5))


def _reread(victim: Victim, tried: dict[str, Tensor], right: Tensor) -> list[str]:
    """A warning where the images fit better in another reading."""
    if not tried:
        return []
    name = max(tried, key=lambda n: int(tried[n].sum()))
    if not _better(right, tried[name]):
        return []
    now, then = percent(_share(right)), percent(_share(tried[name]))
    said = (
        f"another reading fits better: of {len(right)} images {then} % are right with {name}, "
        f"as given {now} %."
    )
    alike = [
        n
        for n in tried
        if n != name and _better(right, tried[n]) and not _better(tried[n], tried[name])
    ]
    if alike:
        others = [f"{n} ({percent(_share(tried[n]))} %)" for n in alike]
        said += f" As good are {', '.join(others)}: ask how it was trained."
    norm, arch = name.removesuffix(", BGR"), victim.model.name
    if norm.startswith("norm="):
        takes = "norm" in catalog.describe("models", arch).settings
        said += (
            f" Give {'' if arch == LIVE else '--arch '}{written(victim.model, norm)} (beside its "
            "other settings)."
            if takes
            else f" {arch} has no norm setting."
        )
    if name.endswith("BGR"):
        said += (
            " It was trained on BGR images, as OpenCV reads them: turn the input channels of its "
            "first layer's weights "
            "round (w[:, [2, 1, 0]]), as images are read as RGB here."
        )
    return [said]


def _mirrored(model: nn.Module, few: Images, right: Tensor) -> list[str]:
    """A warning where the model does not know the images in the mirror, so that training must not
    mirror them.
    """
    seen = predictions(_Changed(model, lambda x: x.flip(-1)), few.x).cpu() == few.y
    if _share(right) - _share(seen) < 0.1 or not _better(seen, right):
        return []
    now, then = percent(_share(right)), percent(_share(seen))
    return [
        f"training mirrors half of the images, but of {len(right)} only {then} % are right in the "
        "mirror, as they are "
        f"{now} %: where a mirrored image has another meaning (signs, text), give --no-flip."
    ]


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def _digest(weights: Path) -> str:
    """SHA-256 of a file; of a folder, of the lines that ``sha256sum`` prints for its weights."""
    place = weights.expanduser()
    if place.is_file():
        with place.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    lines = (f"{_digest(file)}  {file.name}\n" for file in files_of(place))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
