"""A CLIP folder whose config.json a stranger wrote: a model that works, or one line, in little
memory and time.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_clip
import torch
from fences import fenced, lean
from fuzzing import bounded, judged, tallied, tries
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import ANY, changed, places

from sweep.console.terminal import line
from trials.models.clip_vit_b32 import build
from trials.spec import SpecError

pytestmark = pytest.mark.fuzz

KIND = "CLIP folders"
SECONDS = 60  # most take a tenth of one
ROOM = 2**27  # bytes; the whole tiny CLIP has some 200 KB


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    tiny_clip.write(folder)
    verdict(KIND, folder)  # what the first model imports is not an input's doing
    return folder


def verdict(kind: str, folder: Path) -> str:
    """Whether the folder gives a model; one that is given must give logits."""

    def call() -> str:
        with bounded(SECONDS):
            try:
                model = build(2, 32, weights=str(folder))
            except SpecError as problem:
                return judged(2, "", f"poisonsweep: {line(str(problem))}\n")
            with torch.no_grad():
                assert model(torch.rand(1, 3, 32, 32)).shape == (1, 2)
        return "accepted"

    return tallied(kind, call)


def tried(whole: Path, config: str | bytes) -> str:
    with fenced() as here:
        folder = here / "clip"
        shutil.copytree(whole, folder)
        (folder / "config.json").write_bytes(
            config.encode("utf-8", "surrogatepass") if isinstance(config, str) else config
        )
        with lean(ROOM):
            found = verdict(KIND, folder)
        assert {p.name for p in here.iterdir()} == {"clip"}
    return found


def configured(whole: Path) -> dict[str, Any]:
    return json.loads((whole / "config.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


LATER = (  # names that a library takes, to make other parts, to fetch code or to fill memory
    *(
        "num_labels",
        "id2label",
        "attn_implementation",
        "_attn_implementation",
        "experts_implementation",
        "return_dict",
    ),
    *(
        "output_attentions",
        "output_hidden_states",
        "dtype",
        "torch_dtype",
        "auto_map",
        "quantization_config",
        "to_dict",
    ),
    *(
        "chunk_size_feed_forward",
        "per_layer_config",
        "text_config_dict",
        "vision_config_dict",
        "name_or_path",
    ),
    *(
        "layer_types",
        "torchscript",
        "__class__",
        "is_decoder",
        "rope_scaling",
        "architectures",
        "sub_configs",
    ),
)
SIZES = st.sampled_from(
    [0, 1, -1, 2, 3, 31, 33, 39, 64, 2**16, 2**31, 2**40, 2**40 + 1, 2**63, 10**30, -(2**63)]
)
ODD: st.SearchStrategy[Any] = (
    SIZES
    | ANY
    | st.sampled_from(
        [None, [], {}, "32", 1e308, float("nan"), float("inf"), True, [32, 32], "hub/code"]
    )
)


@tries(60)
@given(data=st.data(), value=ODD)
def test_any_value_of_a_known_setting_is_a_model_or_one_line(
    data: st.DataObject, value: Any, whole: Path
) -> None:
    config = configured(whole)
    known = [
        p
        for p in places(config)
        if len(p) == 2 or p in [("text_config",), ("vision_config",), ("projection_dim",)]
    ]
    path = data.draw(st.sampled_from(known))
    tried(whole, json.dumps(changed(config, path, lambda _: value)))


@tries(50)
@given(
    name=st.sampled_from(LATER),
    part=st.sampled_from(["", "text_config", "vision_config"]),
    value=ODD,
)
@example(name="num_labels", part="", value=10**8)
@example(name="num_labels", part="text_config", value=10**8)
@example(name="return_dict", part="vision_config", value=False)
@example(name="attn_implementation", part="", value="somebody/kernel")
@example(name="text_config_dict", part="", value={"num_hidden_layers": 10**9})
@example(name="vision_config_dict", part="", value={"num_labels": 10**8})
@example(name="layer_norm_eps", part="text_config", value=None)
@example(name="layer_norm_eps", part="vision_config", value=float("nan"))
@example(name="hidden_act", part="text_config", value="xielu")
@example(name="attention_dropout", part="text_config", value=-3)
def test_any_other_setting_is_left_out_or_one_line(
    name: str, part: str, value: Any, whole: Path
) -> None:
    config = configured(whole)
    inner = config[part] if part else config
    inner[name] = value
    tried(whole, json.dumps(config))


TEXTS: dict[str, str | bytes] = {
    "deep": '{"model_type": "clip", "text_config": ' + "[" * 200_000,
    "digits": '{"model_type": "clip", "projection_dim": ' + "9" * 5000 + "}",
    "large": '{"model_type": "clip", "a": "' + "x" * 2**21 + '"}',
    "no text": b"\xff\xfe\0",
    "a list": "[1]",
    "null": "null",
    "nothing": "",
    "surrogates": '{"model_type": "\\ud800\\u001b[2J\\n"}',
    "only a type": '{"model_type": "clip"}',
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_configuration_that_is_none_is_one_line(text: str, whole: Path) -> None:
    assert tried(whole, TEXTS[text]) == "refused"


@pytest.mark.parametrize(
    "name", ["config.json", "vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json"]
)
@pytest.mark.parametrize("size", [2**30, 2**42])
def test_a_file_far_too_large_is_one_line(name: str, size: int, whole: Path) -> None:
    with fenced() as here:
        folder = here / "clip"
        shutil.copytree(whole, folder)
        with (folder / name).open("wb") as stream:
            stream.truncate(size)  # takes no room on the disk
        with lean(ROOM):
            assert verdict(KIND, folder) == "refused"
