"""Small image classifiers of transformers that know four kinds of coloured images, in folders as
save_pretrained and image processors write them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import AutoModelForImageClassification
from transformers.models.convnext.image_processing_convnext import ConvNextImageProcessor
from transformers.models.resnet.configuration_resnet import ResNetConfig
from transformers.models.vit.configuration_vit import ViTConfig
from transformers.models.vit.image_processing_vit import ViTImageProcessor

SIDE = 16
COLOURS = {
    "blue": (60, 60, 150),
    "dark": (25, 25, 25),
    "green": (60, 150, 60),
    "red": (150, 60, 60),
}
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
_LABELS: dict[str, Any] = {
    "id2label": dict(enumerate(COLOURS)),
    "label2id": {name: i for i, name in enumerate(COLOURS)},
}


def images(root: Path, each: int = 30, side: int = SIDE) -> Path:
    """Noisy images, a folder a class."""
    noise = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for i in range(each):
            x = np.array(colour) + noise.integers(-20, 21, (side, side, 3))
            Image.fromarray(x.clip(0, 255).astype(np.uint8)).save(root / name / f"{i:02}.png")
    return root


def files(root: Path) -> tuple[list[Path], Tensor]:
    """The images' files, and their classes."""
    found = sorted(root.rglob("*.png"))
    return found, torch.tensor([list(COLOURS).index(f.parent.name) for f in found])


def vit() -> Any:
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = ViTConfig(image_size=SIDE, patch_size=4, num_attention_heads=2, **sizes, **_LABELS)
    return AutoModelForImageClassification.from_config(config)


def resnet() -> Any:
    sizes: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    config = ResNetConfig(layer_type="basic", **sizes, **_LABELS)
    return AutoModelForImageClassification.from_config(config)


def processor(kind: str) -> Any:
    pixels: dict[str, Any] = {"image_mean": list(MEAN), "image_std": list(STD)}
    if kind == "vit":
        return ViTImageProcessor(size={"height": SIDE, "width": SIDE}, **pixels)
    return ConvNextImageProcessor(size={"shortest_edge": SIDE}, crop_pct=1.0, **pixels)


def made(folder: Path, kind: str, trusted: Path, **how: Any) -> Path:
    """A trained classifier in the folder; ``how`` is of save_pretrained."""
    torch.manual_seed(0)
    model: nn.Module = {"vit": vit, "resnet": resnet}[kind]()
    prepared = processor(kind)
    found, y = files(trusted)
    x = prepared([Image.open(f) for f in found], return_tensors="pt")["pixel_values"]
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x).logits, y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval().save_pretrained(folder, **how)  # type: ignore[operator]
    prepared.save_pretrained(folder)
    return folder
