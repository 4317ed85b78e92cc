"""Write the tables of which defense and which detector runs on which kind of model into
docs/bring-your-model.md, from what the methods need and what a small model of each kind has.

python docs/list_capabilities.py
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ConvNeXt, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig

from trials import catalog
from trials.classifier import Classifier

PAGE = Path(__file__).resolve().parent / "bring-your-model.md"
BEGIN = "<!-- defenses by kind of model: written by docs/list_capabilities.py -->"
END = "<!-- /defenses by kind of model -->"
SIZE, CLASSES = 32, 4


class PlainCNN(nn.Module):
    """Two convolutions without normalisation, pooled to 2 x 2, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU()
        )
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.features(x)).flatten(1))
        return logits


def clip() -> nn.Module:
    """The CLIP of two layers whose text embeddings are its head."""
    model: nn.Module = catalog.find("models", "clip_vit_b32")(CLASSES, SIZE, architecture="tiny")
    return model


def norm_cnn() -> nn.Module:
    """A CNN of two stages, each a convolution and batch normalisation."""
    model: nn.Module = catalog.find("models", "small_cnn")(CLASSES, SIZE, width=4)
    return model


# a small model of each kind, of torchvision's own classes where it has one
FAMILIES: Mapping[str, Callable[[], nn.Module]] = {
    "CNN, no BatchNorm": PlainCNN,
    "CNN with BatchNorm": norm_cnn,
    "ViT": lambda: VisionTransformer(
        image_size=SIZE,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=24,
        num_classes=CLASSES,
    ),
    "Swin": lambda: SwinTransformer(
        patch_size=[4, 4],
        embed_dim=8,
        depths=[2, 2],
        num_heads=[1, 2],
        window_size=[4, 4],
        num_classes=CLASSES,
    ),
    "ConvNeXt": lambda: ConvNeXt(
        [CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=CLASSES
    ),
    "CLIP": clip,
}


def built(family: str) -> nn.Module:
    """The small model of a kind, always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = FAMILIES[family]().eval()
        with torch.no_grad():  # as some begin with a head of zeros
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape))
        return model


def table(kind: str) -> list[str]:
    """Lines of Markdown for ``defenses`` or ``detectors``: a row a method, and what the model of
    each kind lacks that it needs.
    """
    seen = {family: Classifier(built(family), (3, SIZE, SIZE)) for family in FAMILIES}
    word = kind.removesuffix("s").capitalize()
    lines = [f"| {word} | {' | '.join(FAMILIES)} |", "|---|" + ":-:|" * len(FAMILIES)]
    for method in catalog.names(kind):
        needs = catalog.describe(kind, method).needs
        cells = (" ".join(classifier.lacks(needs)) for classifier in seen.values())
        lines.append(f"| `{method}` | {' | '.join(f'no: {c}' if c else 'yes' for c in cells)} |")
    return lines


def block() -> str:
    """The page's block between the two markers."""
    return "\n".join([BEGIN, "", *table("defenses"), "", *table("detectors"), "", END])


def main() -> None:
    """Write the block into the page."""
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(pattern.sub(lambda _: block(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
