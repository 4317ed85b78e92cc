"""The configuration in a CLIP's folder: known settings alone, each with its type and bounds, before
a library sees it.

A library would take any other name too: to make a model of other parts, to fetch code, or to fill
memory.
"""

import json
from pathlib import Path
from typing import Any

import torch

from trials.spec import SpecError

WEIGHTS = "model.safetensors"
_BYTES = 2**20  # of config.json; CLIP's own have some 4 KiB
# layers of a tower; its tokens or patches. The largest CLIP has 48 and 729
_DEEPEST, _LONGEST_SEQUENCE = (128, 4096)
_LARGEST = 2**40  # of any size: no product of them takes memory before it is compared with the file
_SCALE = 20.0  # of the logarithm of the logits' scale; CLIP's is at most log 100
_ACTIVATIONS = ("quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "projection_dim",
    "num_hidden_layers",
    "num_attention_heads",
)
_TOWER: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_SIZES, (1, _LARGEST)),
    "layer_norm_eps": (1e-12, 1.0),
    "attention_dropout": (0.0, 1.0),
}
_TEXT = {**_TOWER, **dict.fromkeys(("vocab_size", "max_position_embeddings"), (1, _LARGEST))}
_TEXT |= dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), (0, _LARGEST))
_VISION = {**_TOWER, **dict.fromkeys(("image_size", "patch_size", "num_channels"), (1, _LARGEST))}
_TOP: dict[str, tuple[float, float]] = {
    "projection_dim": (1, _LARGEST),
    "logit_scale_init_value": (-_SCALE, _SCALE),
}
_FRACTIONS = ("layer_norm_eps", "attention_dropout", "logit_scale_init_value")


def read_config(folder: Path) -> Any:
    """The ``CLIPConfig`` that the folder's config.json describes.

    Raises SpecError if it describes none.
    """
    from transformers import CLIPConfig  # noqa: PLC0415 - seconds to import, needed here only

    file = folder / "config.json"
    try:
        if file.stat().st_size > _BYTES:
            raise ValueError(f"more than {_BYTES} bytes")
        found = json.loads(file.read_bytes())
        if found["model_type"] != "clip":
            raise ValueError(f"its model_type is {str(found['model_type'])[:40]!r}, not 'clip'")
        towers = {
            name: _tower(found, name, known)
            for name, known in (("text", _TEXT), ("vision", _VISION))
        }
        return CLIPConfig(
            text_config=towers["text"], vision_config=towers["vision"], **_known(found, _TOP)
        )
    except Exception as problem:
        reason = " ".join(str(problem).split())[:200]
        raise SpecError(
            f"clip_vit_b32: {str(file)!r} is no CLIP's configuration ({reason}). Copy it again."
        ) from problem


def must_fit(config: Any, weights: Path) -> None:
    """Raise ValueError where it asks for more than the weights beside it hold, before memory is
    taken for them.
    """
    from transformers import CLIPModel  # noqa: PLC0415

    for tower in (config.text_config, config.vision_config):
        if tower.num_hidden_layers > _DEEPEST:
            raise ValueError(f"{tower.num_hidden_layers} layers; {_DEEPEST} at most")
    patches = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    if (longest := max(patches, config.text_config.max_position_embeddings)) > _LONGEST_SEQUENCE:
        raise ValueError(f"{longest} patches or tokens; {_LONGEST_SEQUENCE} at most")
    with torch.device("meta"):
        wanted = sum(p.numel() for p in CLIPModel(config).parameters())
    if wanted > weights.stat().st_size:  # a weight takes a byte at least
        raise ValueError(f"{wanted} weights, and {WEIGHTS} has {weights.stat().st_size} bytes")


def _tower(
    found: dict[str, Any], name: str, known: dict[str, tuple[float, float]]
) -> dict[str, Any]:
    """One tower's settings; old files repeat them under a second name, which counts."""
    settings: dict[str, Any] = {}
    for key in (f"{name}_config", f"{name}_config_dict"):
        part = found.get(key) or {}
        settings |= _known(part, known)
        act = part.get("hidden_act")
        if act is not None and act not in _ACTIVATIONS:
            raise ValueError(
                f"hidden_act is {str(act)[:40]!r}, needed is one of {', '.join(_ACTIVATIONS)}"
            )
        settings |= {"hidden_act": act} if act is not None else {}
    return settings


def _known(part: dict[str, Any], known: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """The known settings of a part; null means that the default holds."""
    settings = {}
    for key, (least, most) in known.items():
        if (value := part.get(key)) is None:
            continue
        kinds = (int, float) if key in _FRACTIONS else (int,)
        if type(value) not in kinds or not least <= value <= most:
            raise ValueError(f"{key} is {str(value)[:40]!r}, needed is a number in {least}..{most}")
        settings[key] = float(value) if key in _FRACTIONS else value
    return settings
