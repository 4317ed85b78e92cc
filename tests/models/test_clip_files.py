"""CLIP from a folder: the logits that transformers gives, prompts, older files, and which folders
are refused.
"""

import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_clip
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trials.classifier import Classifier
from trials.models.clip_vit_b32 import build
from trials.spec import SpecError

NAMES = ("tench", "dog 2", "tea house")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("clip")
    return folder, tiny_clip.write(folder)


@pytest.fixture
def names(tmp_path: Path) -> str:
    file = tmp_path / "names.txt"
    file.write_text("\n".join(NAMES) + "\n")
    return str(file)


def refused(says: str, **settings: Any) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        build(3, 16, **settings)
    assert "\n" not in str(caught.value)


def theirs(clip: Any, prompts: tuple[str, ...], x: Tensor) -> Tensor:
    """The logits as transformers computes them, one prompt at a time and without padding."""
    mean = torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None]
    std = torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None]
    with torch.no_grad():
        columns = [
            clip(input_ids=tiny_clip.ids(p), pixel_values=(x - mean) / std).logits_per_image
            for p in prompts
        ]
    return torch.cat(columns, 1)


def test_gives_the_logits_that_transformers_gives(shared: tuple[Path, Any], names: str) -> None:
    folder, clip = shared
    x = torch.rand(4, 3, 32, 32)
    logits = build(3, 32, weights=str(folder), names=names).eval()(x)
    assert float(logits.detach().std()) > 0.5
    assert torch.allclose(logits, theirs(clip, NAMES, x), atol=1e-4)


def test_the_template_goes_around_each_name(shared: tuple[Path, Any], names: str) -> None:
    folder, clip = shared
    x = torch.rand(2, 3, 32, 32)
    logits = build(3, 32, weights=str(folder), names=names, template="a photo of a {} x").eval()(x)
    wanted = theirs(clip, tuple(f"a photo of a {n} x" for n in NAMES), x)
    assert torch.allclose(logits, wanted, atol=1e-4)
    assert not torch.allclose(wanted, theirs(clip, NAMES, x), atol=0.01)


def test_without_names_the_classes_are_numbered(shared: tuple[Path, Any]) -> None:
    folder, clip = shared
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(
        build(2, 32, weights=str(folder))(x), theirs(clip, ("class 0", "class 1"), x), atol=1e-4
    )


def test_of_imagenets_own_list_the_first_name_counts(
    shared: tuple[Path, Any], names: str, tmp_path: Path
) -> None:
    lines = [
        "n01440764 tench, Tinca tinca",
        "n02084071 dog 2",
        "n04398044 tea house, tearoom",
        "n04398045 more",
    ]
    (tmp_path / "LOC.txt").write_text("\n".join(lines))
    plain, listed = (
        build(3, 16, weights=str(shared[0]), names=n) for n in (names, str(tmp_path / "LOC.txt"))
    )
    assert torch.equal(Classifier(plain).head.weight, Classifier(listed).head.weight)


def test_reads_half_precision_and_the_positions_of_older_files(
    shared: tuple[Path, Any], tmp_path: Path
) -> None:
    clip = tiny_clip.write(tmp_path)
    state = {k: v.bfloat16() for k, v in load_file(tmp_path / "model.safetensors").items()}
    positions = {
        f"{t}_model.embeddings.position_ids": torch.arange(5)[None] for t in ("text", "vision")
    }
    save_file({**state, **positions}, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({**config, "dtype": "bfloat16", "torch_dtype": "bfloat16"})
    )
    model = build(3, 16, weights=str(tmp_path))
    assert {v.dtype for v in model.state_dict().values()} == {torch.float32}
    wanted = clip.visual_projection.weight.bfloat16().float()
    assert torch.equal(model.projection.weight, wanted)  # type: ignore[arg-type, union-attr]


def test_a_second_build_does_not_repeat_the_text_tower_but_sees_a_changed_folder(
    tmp_path: Path,
) -> None:
    tiny_clip.write(tmp_path)
    first, again = (Classifier(build(3, 16, weights=str(tmp_path))).head.weight for _ in range(2))
    assert torch.equal(first, again) and first.data_ptr() != again.data_ptr()
    state = load_file(tmp_path / "model.safetensors")
    time.sleep(0.01)
    save_file(
        {**state, "text_projection.weight": -state["text_projection.weight"]},
        tmp_path / "model.safetensors",
    )
    assert torch.allclose(Classifier(build(3, 16, weights=str(tmp_path))).head.weight, -first)


def test_names_and_settings_that_do_not_fit_are_refused(
    shared: tuple[Path, Any], names: str, tmp_path: Path
) -> None:
    weights = str(shared[0])
    refused("needs {} where", weights=weights, template="a photo")
    refused("both set", weights=weights, architecture="tiny")
    for content, says in (
        (b"a\nb\n", "has 2 names, but there are 3 classes"),
        (b"a\n\nc", "line 2"),
        (b"\xff", "text"),
    ):
        (tmp_path / "n.txt").write_bytes(content)
        refused(says, weights=weights, names=str(tmp_path / "n.txt"))


def rewrite(
    file: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_text(
        json.dumps(change(json.loads((folder / file).read_text())))
    )  # type: ignore[return-value]


def text_config(**changes: Any) -> Callable[[Path], None]:
    return rewrite("config.json", lambda c: {**c, "text_config": {**c["text_config"], **changes}})


def vision_config(**changes: Any) -> Callable[[Path], None]:
    return rewrite(
        "config.json", lambda c: {**c, "vision_config": {**c["vision_config"], **changes}}
    )


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "only a pickle": (pickled, "never opened.*save_pretrained"),
    "no config": (lambda f: (f / "config.json").unlink(), "no folder with config.json"),
    "config is no json": (lambda f: (f / "config.json").write_text("{"), "no CLIP's configuration"),
    "another model": (
        rewrite("config.json", lambda c: {**c, "model_type": "bert"}),
        "model_type is 'bert'",
    ),
    "an impossible model": (
        text_config(num_attention_heads=5),
        "describes no model|no CLIP's configuration",
    ),
    "too wide": (
        text_config(hidden_size=2**17, intermediate_size=2**17),
        "describes no model: .* weights, and",
    ),
    "too deep": (text_config(num_hidden_layers=10**9), "1000000000 layers; 128 at most"),
    "too many words": (text_config(vocab_size=10**12), "describes no model: .* weights, and"),
    "too many patches": (vision_config(image_size=2**20), "patches or tokens; 4096 at most"),
    "no number": (
        vision_config(layer_norm_eps="1e-5"),
        "layer_norm_eps is '1e-5', needed is a number",
    ),
    "a truth for a size": (
        text_config(num_hidden_layers=True),
        "num_hidden_layers is 'True', needed is a number",
    ),
    "an activation with weights": (
        text_config(hidden_act="xielu"),
        "hidden_act is 'xielu', needed is one of",
    ),
    "a large file": (
        lambda f: (f / "merges.txt").write_bytes(b"x" * (2**24 + 1)),
        "'merges.txt' .* more than",
    ),
    "another size": (text_config(hidden_size=64), "does not fit the model"),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:-9]
        ),
        "no whole safetensors file",
    ),
    "no tokenizer": (lambda f: (f / "merges.txt").unlink(), "has no tokenizer"),
    "broken tokenizer": (lambda f: (f / "vocab.json").write_text("[1"), "cannot be read"),
    "larger vocabulary": (
        rewrite("vocab.json", lambda v: {k: i + 500 for k, i in v.items()}),
        "tokenizer .* is of another model",
    ),
    "another end token": (text_config(eos_token_id=0), "tokenizer .* is of another model"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_names_what_is_wrong_with_a_folder(tmp_path: Path, fault: str) -> None:
    tiny_clip.write(tmp_path)
    change, says = FAULTS[fault]
    change(tmp_path)
    refused(says, weights=str(tmp_path))


def test_leaves_out_what_is_no_setting_of_clip(shared: tuple[Path, Any], tmp_path: Path) -> None:
    """A library would fetch code for the first, fill memory for the second and give tuples for the
    third.
    """
    extra = {"attn_implementation": "somebody/kernel", "num_labels": 10**9, "return_dict": False}
    tiny_clip.write(tmp_path)
    rewrite("config.json", lambda c: {**c, **extra})(tmp_path)
    text_config(**extra)(tmp_path)
    vision_config(**extra)(tmp_path)
    x = torch.rand(1, 3, 16, 16)
    models = (build(2, 16, weights=str(folder)).eval() for folder in (shared[0], tmp_path))
    assert torch.equal(*(model(x) for model in models))


def test_runs_no_code_from_a_folder(tmp_path: Path) -> None:
    tiny_clip.write(tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\nclass Evil: ...\n")
    for file in ("config.json", "tokenizer_config.json"):
        rewrite(
            file,
            lambda c: {
                **c,
                "auto_map": {"AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]},
            },
        )(tmp_path)
    assert build(3, 16, weights=str(tmp_path))(torch.rand(1, 3, 16, 16)).shape == (1, 3)
    assert not (tmp_path / "pwned").exists()
