"""What ``defend`` is given from Python as files that workers can read: a live network and live
images are written down beside the results.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from sweep.commands import outputs
from sweep.commands.given_images import GivenImages, images_of
from sweep.commands.given_module import GivenModule, Numbers, module_of, normalisation
from trials.spec import SpecError

SIZE = 32  # of a folder's images for a module


@dataclass(frozen=True, slots=True)
class Given:
    """A model, its architecture and trusted images as ``prepare`` takes them.

    Attributes:
        model: a file of weights.
        arch: a word, or the model's table.
        trusted: a folder or a table.
        size: side of the images in pixels; None: to be found.
        module: the live network; None where a file was given.
        norm: settings of the normalisation that are asked for of a file's model.
    """

    model: Path
    arch: str | Mapping[str, Any]
    trusted: Path
    size: int | None
    module: GivenModule | None = None
    norm: Mapping[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def as_files(
    model: Any,
    trusted: Any,
    out: Path,
    arch: str,
    *,
    size: int | None = None,
    norm: str | None = None,
    mean: Numbers = None,
    std: Numbers = None,
) -> Iterator[Given]:
    """Within the block all is checked; what was written for it goes where that fails.

    Raises:
        SpecError: a model or images of another kind, or that do not fit one another.
    """
    with written_in(out) as folder:
        yield _given(model, trusted, folder, arch, size, (norm, mean, std))


@contextlib.contextmanager
def written_in(out: Path) -> Iterator[Path]:
    """The folder for what is live in a session; where the block fails, what it wrote goes."""
    folder = out / outputs.GIVEN
    before = set(folder.glob("*"))
    absent = [p for p in (folder, out, *out.absolute().parents) if not p.exists()]
    try:
        yield folder
    except BaseException:
        for file in set(folder.glob("*")) - before:
            file.unlink(missing_ok=True)
        for place in absent:
            with contextlib.suppress(OSError):  # something else lies in it
                place.rmdir()
        raise


def sets_as_files(images: Any, trusted: Any, folder: Path) -> tuple[Path, Path]:
    """Two sets of the same classes as paths, live ones written down.

    Raises:
        SpecError: one of another kind, or with a label that is no class, or that cannot be written.
    """
    both = [
        None if isinstance(given, str | Path) else images_of(given, word)
        for word, given in (("images", images), ("trusted", trusted))
    ]
    live = [found for found in both if found]
    classes = max((max(len(f.names), max(f.labels) + 1) for f in live), default=0)
    try:
        paths = [
            found.write(folder, classes) if found else Path(given)
            for found, given in zip(both, (images, trusted), strict=True)
        ]
    except OSError as problem:
        raise _unwritten(folder, problem) from problem
    return paths[0], paths[1]


def _unwritten(folder: Path, problem: OSError) -> SpecError:
    return SpecError(
        f"out = {str(folder.parent)!r} cannot be written: {problem.strerror or problem}."
    )


def _given(
    model: Any,
    trusted: Any,
    folder: Path,
    arch: str,
    size: int | None,
    normal: tuple[str | None, Numbers, Numbers],
) -> Given:
    module = _module(model, arch, normal)
    norm = {} if module else normalisation(*normal)
    images = None if isinstance(trusted, str | Path) else images_of(trusted)
    if not (module or images):
        return Given(Path(model), arch, Path(trusted), size, norm=norm)
    side = size or (_side(images) if images else SIZE)
    outputs.refuse(folder.parent, folder / "module", folder / "images")
    outputs_of, grey = _looked_at(module, images, side)
    try:
        table = images.write(folder, outputs_of) if images else Path(trusted)
        if module is None:
            return Given(Path(model), arch, table, side, norm=norm)
        weights, live = module.write(folder, grey)
    except OSError as problem:
        raise _unwritten(folder, problem) from problem
    return Given(weights, live, table, side, module)


def _module(
    model: Any, arch: str, normal: tuple[str | None, Numbers, Numbers]
) -> GivenModule | None:
    """The live network, if one is given."""
    if isinstance(model, nn.Module):
        if arch:
            raise SpecError("arch is for a file of weights; leave it out with a module.")
        return module_of(model, *normal)
    if not isinstance(model, str | Path):
        raise SpecError(
            f"model is a {type(model).__name__}; needed is an nn.Module, or a file of weights."
        )
    return None


def _looked_at(
    module: GivenModule | None, images: GivenImages | None, side: int
) -> tuple[int, bool]:
    """How many classes there are, and whether the network takes one channel."""
    if module:
        return module.looked_at(side, grey=images is None or images.grey)
    assert images is not None
    return max(len(images.names), max(images.labels) + 1), False


def _side(images: GivenImages) -> int:
    """The side of the images. Raises SpecError where they have several, or are not square."""
    if len(images.sizes) == 1:
        ((width, height),) = images.sizes
        if width == height:
            return width
    some = ", ".join(f"{w} x {h}" for w, h in sorted(images.sizes)[:3])
    raise SpecError(
        f"the trusted images have sides of {some}{', ...' if len(images.sizes) > 3 else ''} "
        "pixels. Give size=, the side of the model's input."
    )
