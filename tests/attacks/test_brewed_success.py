"""Poison of Witches' Brew, kept as PNG files, misleads models that are newly trained on the files;
models that never saw it are not misled.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from attackers import attacker_view
from PIL import Image
from torch import Generator, Tensor, nn

from trials import catalog
from trials.attacks import witches_brew
from trials.crafting import fitted_by
from trials.datasets import cifar10
from trials.games.targeted import measured
from trials.recipes import fast
from trials.types import Images, InstanceGoal, Poisoning

RECIPE = partial(fast.fit, epochs=12, batch=64, peak=0.2, precision="fp32")
SEEDS = (0, 1)


def fresh(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model: nn.Module = catalog.find("models", "small_cnn")(10, 16)
    return model.to(memory_format=torch.channels_last)


def trained(train: Images, seed: int) -> nn.Module:
    model = fresh(seed)
    for _ in RECIPE(model, Poisoning(train), Generator().manual_seed(seed), None):
        pass
    return model


def read_back(train: Images, places: Tensor, folder: Path) -> Images:
    """The training set with these images from files that they were written to."""
    x = train.x.clone()
    x[places] = 0
    for place in places.tolist():
        file = folder / f"{place}.png"
        Image.fromarray(train.x[place].permute(1, 2, 0).contiguous().numpy()).save(file)
        x[place] = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    return replace(train, x=x)


@pytest.mark.slow
def test_victims_of_poison_read_from_files_give_the_class_wanted(
    cifar10_root: Path, tmp_path: Path
) -> None:
    clean = cifar10.load("train", root=str(cifar10_root), subset=4000, size=16)
    test = cifar10.load("test", root=str(cifar10_root), size=16)
    view = replace(attacker_view(clean), fresh=fresh, fit=fitted_by(RECIPE), targets=lambda: test)
    settings = {"budget": 0.04, "epsilon": 32, "restarts": 1, "iterations": 80}
    made = witches_brew.craft(view, Generator(), **settings)  # type: ignore[arg-type]
    (implant,) = made.implants
    assert isinstance(implant.goal, InstanceGoal)
    each = [implant.goal.cases(test)]
    poisoned = read_back(made.train, made.places, tmp_path)
    victims = [measured(trained(poisoned, seed), each, test) for seed in SEEDS]
    controls = [measured(trained(clean, seed), each, test) for seed in SEEDS]
    assert sum(v["success"] for v in victims) >= 1
    assert not any(c["success"] for c in controls)
    assert min(v["wanted"] for v in victims) > 2 * max(c["wanted"] for c in controls)
