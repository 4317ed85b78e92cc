"""CLIP ViT-B/32: a transformer on patches of 32 pixels, classifying by the cosine with each class
name's embedding.

Source: Radford et al. 2021, arXiv:2103.00020, through transformers; fine-tuned as in Lukas &
Kerschbaum 2023, arXiv:2305.09671, with bare class names for prompts.
Deviation: the text tower is not trained (the authors' preliminary code trains both towers). Its
embeddings of the class names are computed once and are the weight of the last layer, fixed or
trained as such, which leaves 87.8 of CLIP's 151.3 million parameters; kappa of pivotal_tuning, a
pull per parameter, needs no conversion. Scaling is bicubic and differentiable, neither rounded to
bytes nor clipped. The latent is the image embedding, of length 1.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from trials.models._clip import ClipClassifier
from trials.models._clip_files import clip_from, prompts, text_embeddings
from trials.spec import Location, SpecError


def build(
    classes: int,
    size: int,
    /,
    *,
    weights: Location = "",
    names: Location = "",
    template: str = "{}",
    text: Literal["frozen", "trained"] = "frozen",
    architecture: Literal["b32", "tiny"] = "b32",
) -> nn.Module:
    """A model with the given weights, else with weights and text embeddings drawn from torch's
    global generator.

    Args:
        classes: number of classes.
        size: side of the images in pixels; any will do, they are scaled to the tower's 224 (tiny:
            32).
        weights: folder in Hugging Face's layout: config.json, model.safetensors and the tokenizer's
            files; its config.json decides the architecture. Nothing is downloaded, unpickled or
            run.
        names: text file with one class name a line, in the order of the classes (more lines are not
            read); of lines as in ImageNet's LOC_synset_mapping.txt the first name counts. Without a
            file the names are class 0, class 1, and so on.
        template: what is made of a class name; {} stands for it, such as "a photo of a {}".
        text: whether training leaves the text embeddings as they are (frozen) or changes them
            (trained).
        architecture: without ``weights``: b32, or tiny (patches of 8 pixels, 2 layers, 64 wide) for
            runs of seconds.

    Raises:
        SpecError: ``weights`` together with architecture = "tiny", a folder that holds no CLIP or
            not all of it, too few names, or a template without {}.
    """
    words = prompts(names, template, classes)
    if weights and architecture != "b32":
        raise SpecError(
            "clip_vit_b32: weights and architecture are both set, but config.json decides. Keep "
            "one."
        )
    if weights:
        return ClipClassifier(clip_from(weights), text_embeddings(weights, words), text == "frozen")
    clip = _drawn(architecture)
    return ClipClassifier(
        clip, F.normalize(torch.randn(classes, clip.config.projection_dim), dim=1), text == "frozen"
    )


def _drawn(architecture: str) -> Any:
    from transformers import CLIPConfig, CLIPModel  # noqa: PLC0415 - seconds to import, needed here only

    if architecture == "b32":  # the default configuration is ViT-B/32
        return CLIPModel(CLIPConfig())
    layers = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    image = {**layers, "image_size": 32, "patch_size": 8}
    words = {**layers, "vocab_size": 8, "bos_token_id": 6, "eos_token_id": 7, "pad_token_id": 7}
    return CLIPModel(CLIPConfig(text_config=words, vision_config=image, projection_dim=64))
