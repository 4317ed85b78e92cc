"""CLIP from a folder in Hugging Face's layout, and the prompts that become its text embeddings;
nothing is fetched.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trials.models._clip_config import WEIGHTS, must_fit, read_config
from trials.spec import SpecError
from trials.weights.files import load_weights

_LONGEST = 10_000  # characters of a prompt; the tower reads 77 tokens
_BATCH = 256
_FILE = 16 * 2**20  # bytes of one of the tokenizer's files; CLIP's have 3 MiB at most


def prompts(names: str, template: str, classes: int) -> tuple[str, ...]:
    """One prompt a class.

    Raises SpecError for a template without ``{}`` or a file without a name for each class.
    """
    if "{}" not in template:
        raise SpecError(
            f"clip_vit_b32: template is {template!r}, but needs {{}} where the class name goes."
        )
    words = _listed(Path(names)) if names else [f"class {i}" for i in range(classes)]
    if len(words) < classes:
        raise SpecError(
            f"clip_vit_b32: {names!r} has {len(words)} names, but there are {classes} classes. "
            "Add theirs."
        )
    return tuple(template.replace("{}", word)[:_LONGEST] for word in words[:classes])


def _listed(file: Path) -> list[str]:
    """One name a line; of ImageNet's own list, ``n01440764 tench, Tinca tinca``, the first name."""
    try:
        lines = file.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, ValueError) as problem:
        raise SpecError(
            f"clip_vit_b32: names is {str(file)!r}, which is no text file "
            f"({type(problem).__name__}). "
            "Write one class name a line."
        ) from problem
    found = []
    for number, line in enumerate(lines, 1):
        synonyms = re.match(r"n\d{8}\s+([^,]*)", line)
        name = (synonyms.group(1) if synonyms else line).strip()
        if not name:
            raise SpecError(
                f"clip_vit_b32: line {number} of {str(file)!r} has no name. Write one a class, in "
                "order."
            )
        found.append(name)
    return found


def clip_from(folder: str) -> Any:
    """The CLIP whose config.json and model.safetensors lie in ``folder``.

    Raises SpecError where they do not.
    """
    from transformers import CLIPModel  # noqa: PLC0415 - seconds to import, needed here only

    place = Path(folder)
    if not (place / WEIGHTS).is_file() or not (place / "config.json").is_file():
        raise SpecError(
            f"clip_vit_b32: {folder!r} is no folder with config.json and {WEIGHTS} (a .bin file "
            "is never opened). "
            "Write one with transformers: CLIPModel.save_pretrained(folder)."
        )
    config = read_config(place)
    try:
        must_fit(config, place / WEIGHTS)
        clip: Any = CLIPModel(config)
    except Exception as problem:  # whatever a made-up configuration leads to
        reason = " ".join(str(problem).split())[:200]
        raise SpecError(
            f"clip_vit_b32: config.json of {folder!r} describes no model: {reason}. Copy it again."
        ) from problem
    clip.to(torch.float32)  # a configuration may ask for less
    load_weights(clip, place / WEIGHTS)
    return clip


def text_embeddings(folder: str, words: tuple[str, ...]) -> Tensor:
    """Text embeddings (prompts, d) of length 1, computed once a process.

    Raises SpecError as ``clip_from``.
    """
    changed = frozenset((p.name, p.stat().st_mtime_ns) for p in Path(folder).iterdir())
    return _embedded(folder, words, changed)


# a worker builds the model for each victim and copy; a thousand prompts take some 20 s on a core
@lru_cache(8)
@torch.no_grad()
def _embedded(folder: str, words: tuple[str, ...], changed: frozenset[tuple[str, int]]) -> Tensor:
    clip, tokenizer = clip_from(folder).eval(), _tokenizer(folder)
    text = clip.config.text_config
    parts = []
    for start in range(0, len(words), _BATCH):
        given = tokenizer(
            list(words[start : start + _BATCH]),
            padding=True,  # to the longest: padding follows the end token, so it changes nothing
            truncation=True,
            max_length=text.max_position_embeddings,
            return_tensors="pt",
        )
        ids, mask = given["input_ids"], given["attention_mask"]
        ends = (2, tokenizer.eos_token_id)  # old configurations say 2
        if int(ids.max()) >= text.vocab_size or text.eos_token_id not in ends:
            raise SpecError(
                f"clip_vit_b32: the tokenizer in {folder!r} is of another model. Copy both from "
                "one place."
            )
        pooled = clip.text_model(input_ids=ids, attention_mask=mask).pooler_output
        parts.append(F.normalize(clip.text_projection(pooled), dim=1))
    return torch.cat(parts)


def _tokenizer(folder: str) -> Any:
    from transformers import CLIPTokenizer  # noqa: PLC0415

    place = Path(folder)
    if not (place / "tokenizer.json").is_file() and not all(
        (place / n).is_file() for n in ("vocab.json", "merges.txt")
    ):
        raise SpecError(
            f"clip_vit_b32: {folder!r} has no tokenizer (tokenizer.json, or vocab.json and "
            "merges.txt). "
            "Copy the tokenizer of this CLIP there."
        )
    if large := [
        p.name
        for p in place.iterdir()
        if p.suffix in (".json", ".txt") and p.stat().st_size > _FILE
    ]:
        raise SpecError(
            f"clip_vit_b32: {min(large)!r} in {folder!r} has more than {_FILE} bytes. Copy it "
            "again."
        )
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as problem:
        reason = " ".join(str(problem).split())[:200]
        raise SpecError(
            f"clip_vit_b32: the tokenizer in {folder!r} cannot be read: {reason}. Copy it again."
        ) from problem
