"""Small images of four colours, and a small model that was trained to tell them apart, with as many
outputs as a test wants.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from trials import catalog
from trials.weights.files import save_weights

SIDE, EACH = 8, 20
COLOURS = ((150, 60, 60), (60, 150, 60), (60, 60, 150), (20, 20, 20))


def pictures() -> tuple[list[np.ndarray], torch.Tensor]:
    """Noisy images uint8 (8, 8, 3), and which colour each is."""
    noise, found = np.random.default_rng(0), []
    for colour in COLOURS:
        for _ in range(EACH):
            x = np.array(colour) + noise.integers(-18, 19, (SIDE, SIDE, 3))
            found.append(np.clip(x, 0, 255).astype(np.uint8))
    return found, torch.arange(len(COLOURS)).repeat_interleave(EACH)


def folder(root: Path, names: Sequence[str]) -> Path:
    """A folder a colour, of these names."""
    found, labels = pictures()
    for i, (picture, label) in enumerate(zip(found, labels.tolist(), strict=True)):
        file = root / names[label] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(file)
    return root


def model(file: Path, of_colour: Sequence[int], outputs: int) -> Path:
    """Weights of a small_cnn of width 4 without normalisation, whose output ``of_colour[i]`` is
    colour i.
    """
    found, labels = pictures()
    x = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2) / 255
    y = torch.tensor(of_colour)[labels]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = catalog.find("models", "small_cnn")(
            outputs, SIDE, width=4, norm="none"
        )
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    file.parent.mkdir(parents=True, exist_ok=True)
    save_weights(network, file)
    return file
