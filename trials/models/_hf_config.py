"""The config.json of an image classifier of transformers: the settings that its class knows, each
plain and within bounds, before the library sees it.

A library would take any other name too: to fetch code, or weights, or to fill memory.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trials.spec import SpecError

_BYTES = 2**20  # of config.json; ImageNet's 21,841 names have some 900 KiB
_LARGEST, _LONGEST, _MOST = 2**24, 100, 128  # a number; letters of a word; items of a list
_DEEPEST = 512  # layers in all
_DEPTH = re.compile(r"layers|depth|blocks|repeats")
# not what the network is; or what another library or a download would have to be asked for
_LEFT = (
    *("architectures", "model_type", "transformers_version", "_name_or_path", "problem_type"),
    *("auto_map", "id2label", "label2id", "num_labels", "dtype", "torch_dtype", "torchscript"),
    *("quantization_config", "return_dict", "output_hidden_states", "output_attentions"),
    *("out_features", "out_indices", "stage_names", "attn_implementation"),
    *("_attn_implementation", "backbone", "backbone_config", "backbone_kwargs"),
    *("use_pretrained_backbone", "use_timm_backbone"),
)
# of transformers' image classifiers: they ask other libraries, or take no plain images
_REFUSED = ("timm_wrapper", "shieldgemma2", "imagegpt", "siglip2", "donut-swin", "perceiver")


def read_json(file: Path) -> dict[str, Any]:
    """The object in a file of a stranger's.

    Raises SpecError where there is none.
    """
    try:
        if file.stat().st_size > _BYTES:
            raise ValueError(f"more than {_BYTES} bytes")
        found = json.loads(file.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise SpecError(f"{str(file)!r} cannot be read: {reason}. Copy it again.") from problem
    return found


def classifier_of(file: Path, found: Mapping[str, Any]) -> tuple[str, str]:
    """The model_type and the class of transformers that a config.json is of.

    Raises:
        SpecError: it is of no image classifier of transformers.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # noqa: PLC0415
    from transformers.models.auto.modeling_auto import (  # noqa: PLC0415 - seconds to import
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as CLASSIFIERS,
    )

    if "auto_map" in found:
        raise SpecError(
            f"{str(file)!r} asks for code of its own (auto_map), which is never run. Give the "
            "weights file and --arch package.module:callable, if the code is yours."
        )
    kind, asked = found.get("model_type"), found.get("architectures") or []
    if "pretrained_cfg" in found:
        arch = str(found.get("architecture", "NAME"))[:_LONGEST]
        raise SpecError(
            f"{str(file)!r} is of timm. Give the weights file in its folder, and --arch timm:{arch}"
        )
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING_NAMES:
        raise SpecError(
            f"{str(file)!r}: the model_type {str(kind)[:_LONGEST]!r} is none that this "
            "transformers knows. Give the weights file and --arch, or install a newer transformers."
        )
    known = CLASSIFIERS.get(kind, ())
    classes = [known] if isinstance(known, str) else list(known)
    named = asked if isinstance(asked, list) else [asked]
    fits = [c for c in classes if c in named] if named else classes
    if not fits or kind in _REFUSED:
        what = str(named[0] if named else kind)[:_LONGEST]
        raise SpecError(
            f"{str(file)!r} is of {what}, which is not an image classifier that is taken. Needed "
            "is a ...ForImageClassification of transformers, saved by save_pretrained."
        )
    return kind, fits[0]


def config_of(file: Path, classes: int) -> Any:
    """The configuration of transformers that a config.json describes, for so many classes.

    Raises:
        SpecError: it describes no image classifier, or not within bounds.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: PLC0415

    found = read_json(file)
    kind, name = classifier_of(file, found)
    try:
        default = CONFIG_MAPPING[kind]()
        aliases = dict.fromkeys(getattr(default, "attribute_map", {}))
        settings = _known(found, {**aliases, **default.to_dict()})
        return CONFIG_MAPPING[kind](**settings, num_labels=classes, architectures=[name])
    except Exception as problem:  # whatever a made-up configuration leads to
        reason = " ".join(str(problem).split())[:200]
        raise SpecError(f"{str(file)!r} describes no {name}: {reason}. Copy it again.") from problem


def _known(found: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the class has too; those of a part of it, such as a tower, likewise."""
    settings: dict[str, Any] = {}
    for key, value in found.items():
        if key not in default or key in _LEFT:
            continue
        inner = default[key]
        if isinstance(inner, Mapping):
            if not isinstance(value, Mapping):
                raise ValueError(f"{key} is {str(value)[:40]!r}, needed is an object")
            settings[key] = _known(value, inner)
        else:
            _plain(key, value)
            settings[key] = value
    deep = sum(_total(v) for k, v in settings.items() if _DEPTH.search(k))
    if deep > _DEEPEST:
        raise ValueError(f"{deep:g} layers; {_DEEPEST} at most")
    return settings


def _plain(key: str, value: Any, lists: int = 2) -> None:
    """Raise ValueError unless it is null, a word, a number, or a short list of such."""
    if isinstance(value, list) and lists and len(value) <= _MOST:
        for one in value:
            _plain(key, one, lists - 1)
        return
    word = isinstance(value, str) and len(value) <= _LONGEST
    number = isinstance(value, int | float) and math.isfinite(value) and abs(value) <= _LARGEST
    if not (value is None or word or number):
        raise ValueError(f"{key} is {str(value)[:40]!r}")


def _total(value: Any) -> float:
    if isinstance(value, list):
        return sum(map(_total, value))
    return abs(value) if isinstance(value, int | float) else 0
