"""Which repairs run on which architectures: 31 networks of four libraries, each with the seven
repairs of the paper.

    python -m benchmarks.pairs [--models NAME ...] [--repairs NAME ...]

Each network has random weights and the smallest images that it takes, 64 pixels mostly. A pair is
refused where the network lacks what the repair needs, which is found before it computes anything;
it runs where every step gives a model with the same weights' names and finite logits; and it fails
else. Seconds are of one step or two, all in all. Writes benchmarks/results/pairs.csv.
"""

import argparse
import importlib.util
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks._shared import parsed, write_rows
from trials import catalog
from trials.architecture import parsed as architecture
from trials.classifier import Classifier
from trials.runtime import generator
from trials.spec import SpecError
from trials.types import DefenderView, Images

CLASSES, IMAGES, SIZE = 4, 8, 64
RAN, REFUSED, FAILED = "ran", "refused", "failed"
REPAIRS = [
    *("bn_refresh", "fine_pruning", "fine_tuning", "nad", "neural_cleanse", "pivotal_tuning"),
    "weight_decay",
]
_TORCHVISION = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3"),
    *("mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18"),
    *("shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "vgg11_bn"),
)
_TIMM = (
    *("deit_tiny_patch16_224", "test_byobnet", "test_convnext", "test_efficientnet"),
    *("test_efficientnet_gn", "test_nfnet", "test_resnet", "test_vit", "tf_efficientnet_lite0"),
)
# of transformers: what their config.json says
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "convnext": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]},
    "resnet": {"depths": [1, 1], "embedding_size": 8, "hidden_sizes": [8, 16]},
    "vit": {
        **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
        **{"image_size": SIZE, "num_attention_heads": 2, "patch_size": 8},
    },
}
MODELS = [
    *(f"torchvision:{name}" for name in _TORCHVISION),
    *(f"timm:{name}" for name in _TIMM),
    *(f"transformers:{kind}" for kind in CONFIGS),
    *("cifar_resnet", "clip_vit_b32:architecture=tiny", "resnet18:width=16", "small_cnn"),
]
SIZES = {"torchvision:inception_v3": 75}  # the smallest that it takes
# as few steps, and as small ones, as each method has settings for
SHORT: Mapping[str, Any] = {
    "steps": 1,
    "steps_per_class": 1,
    "batch": 8,
    "teacher_steps": 1,
    "members": 1,
    "iterations": 1,
    "recover_steps": 1,
    "rounds": 1,
    "inner_steps": 1,
    "ranking_batches": 1,
    "refresh": 8,
    "stop": 1.0,
    "most": 0.05,
}


def network(name: str, size: int, folder: Path) -> nn.Module:
    """The architecture with random weights; ``folder`` gets a config.json where it needs one."""
    library, _, kind = name.partition(":")
    if library == "transformers":
        (folder / f"{kind}.json").write_text(
            json.dumps({"model_type": kind, **CONFIGS[kind]}), encoding="utf-8"
        )
        known, settings = "hugging_face", {"config": str(folder / f"{kind}.json")}
    else:
        known, settings = architecture(name)  # type: ignore[assignment]
    torch.manual_seed(0)
    model: nn.Module = catalog.find("models", known)(CLASSES, size, **settings)
    return model.eval()


def tried(view: DefenderView, seen: Classifier, repair: str) -> tuple[str, str]:
    """What came of a pair, and why it did not run."""
    method = catalog.describe("defenses", repair)
    few = {key: value for key, value in SHORT.items() if key in method.settings}
    try:
        steps = 0
        for _, model in catalog.find("defenses", repair)(view, generator(0), 1, **few):
            with torch.no_grad():
                logits = model.eval()(view.trusted.x.float() / 255)
            whole = model.state_dict().keys() == view.model.state_dict().keys()
            if logits.shape != (IMAGES, CLASSES) or not torch.isfinite(logits).all() or not whole:
                return FAILED, "no such model comes out"
            steps += 1
        return (RAN, "") if steps else (FAILED, "no step was taken")
    except SpecError as problem:
        if lacking := seen.lacks(method.needs):
            return REFUSED, " ".join(lacking)
        return FAILED, str(problem)
    except Exception as problem:  # whatever a library raises is what this looks for
        return FAILED, f"{type(problem).__name__}: {problem}"


def pairs_of(name: str, repairs: list[str], folder: Path) -> list[dict[str, Any]]:
    """A row for each repair of one architecture."""
    size = SIZES.get(name, SIZE)
    x = torch.randint(0, 256, (IMAGES, 3, size, size), dtype=torch.uint8, generator=generator(0))
    images = Images(x, torch.arange(IMAGES) % CLASSES, CLASSES, pad=size // 8, flip=True)
    view = DefenderView(network(name, size, folder), images)
    seen, rows = Classifier(view.model, x.shape[1:]), []
    for repair in repairs:
        began = time.process_time()
        outcome, why = tried(view, seen, repair)
        seconds = round(time.process_time() - began, 3)
        row = {"model": name, "repair": repair, "outcome": outcome, "why": why}
        rows.append({**row, "seconds": seconds})
        print(f"{name:36} {repair:15} {outcome} {why}", flush=True)
    return rows


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    words.add_argument("--models", nargs="+", default=MODELS)
    words.add_argument("--repairs", nargs="+", default=REPAIRS)
    tiny = {"models": ["small_cnn", "torchvision:squeezenet1_1"], "repairs": REPAIRS[:3]}
    asked, rows = parsed(words, **tiny), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.models:
            if name.startswith("timm:") and not importlib.util.find_spec("timm"):
                print(f"{name} is left out: timm is not installed")
                continue
            rows += pairs_of(name, asked.repairs, Path(folder))
    counts = Counter(row["outcome"] for row in rows)
    told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in (RAN, REFUSED, FAILED))
    print(f"{len(rows)} pairs: {told}")
    write_rows("pairs", rows, tiny=asked.tiny)


if __name__ == "__main__":
    main()
