"""A random CLIP of a few thousand weights, with a tokenizer of single characters, in Hugging Face's
layout.
"""

import json
import string
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel

LAYERS = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
START, END = "<|startoftext|>", "<|endoftext|>"
CHARACTERS = string.ascii_lowercase + string.digits
TOKENS = [*CHARACTERS, *(f"{c}</w>" for c in CHARACTERS), START, END]


def write(folder: Path, *, tokenizer: bool = True, **image: Any) -> CLIPModel:
    """The CLIP that now lies in ``folder``; ``image`` changes the image tower's configuration."""
    torch.manual_seed(7)
    size = len(TOKENS)
    text = {
        **LAYERS,
        "vocab_size": size,
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
        "pad_token_id": size - 1,
    }
    image = {**LAYERS, "image_size": 32, "patch_size": 8, **image}
    clip: CLIPModel = CLIPModel(
        CLIPConfig(text_config=text, vision_config=image, projection_dim=24)
    ).eval()  # type: ignore[no-untyped-call]
    with torch.no_grad():  # as drawn, all prompts and all images are nearly one
        for parameter in clip.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    clip.save_pretrained(folder)
    if tokenizer:
        (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(TOKENS)}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        facts = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "CLIPTokenizer", **facts})
        )
    return clip


def ids(prompt: str) -> torch.Tensor:
    """Token ids (1, n) of a prompt, worked out by hand: no merges, so one token a character."""
    words = prompt.split()
    tokens = [t for word in words for t in [*word[:-1], f"{word[-1]}</w>"]]
    return torch.tensor([[TOKENS.index(t) for t in (START, *tokens, END)]])
