"""A page that shows what each attack does to an image of a data set."""

from pathlib import Path

import torch
from torch import Generator, Tensor

from results.figures import gallery
from trials import catalog
from trials.spec import MethodConfig, SpecError
from trials.types import Images, Poisoning, TriggerGoal


def make(dataset: str, out: Path, index: int = 0) -> Path:
    """Write the page for a test image; attacks keep their default settings, with no more poison
    than there are images. Those that craft their poison against a model of their own are left out.

    Raises:
        SpecError: unknown data set, no such image, or a page that cannot be written.
    """
    config = catalog.resolve("datasets", MethodConfig(dataset))
    load = catalog.find("datasets", dataset)
    train, test = load("train", **config.params), load("test", **config.params)
    if not 0 <= index < len(test):
        raise SpecError(f"--image must be in 0..{len(test) - 1}, got {index}.")
    columns = {
        name: (_picture(test.x[index]), _picture(_stamped(name, train, test, index)))
        for name in _names()
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        gallery.figure(columns).write_html(
            out, include_plotlyjs=True, config={"displayModeBar": False}
        )
    except OSError as problem:
        raise SpecError(
            f"the page cannot be written to {str(out)!r}: {problem.strerror or problem}."
        ) from problem
    return out


def _names() -> list[str]:
    """The attacks that need no model of their own."""
    attacks = catalog.names("attacks")
    return [name for name in attacks if catalog.describe("attacks", name).verb != "craft"]


def _stamped(name: str, train: Images, test: Images, index: int) -> Tensor:
    settings = {"m": 0} if "m" in catalog.describe("attacks", name).settings else {}
    poisoning: Poisoning = catalog.find("attacks", name)(
        train, Generator().manual_seed(0), **settings
    )
    goal = poisoning.implants[0].goal
    if not isinstance(goal, TriggerGoal):  # an attack without a trigger changes no test image
        return test.x[index]
    return goal.trigger(test.x[index : index + 1], torch.tensor([index]))[0]


def _picture(x: Tensor) -> gallery.Picture:
    return x.permute(1, 2, 0).contiguous().numpy()
