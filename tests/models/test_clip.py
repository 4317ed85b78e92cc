"""CLIP as a classifier: what it computes, what is trained, what is saved, and which folders are refused."""

import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_clip
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trials import catalog
from trials.artifacts import Artifacts
from trials.checkpoints import load_weights, save_weights
from trials.kinds import Images, View, last_linear, with_latents
from trials.models._clip import FixedLinear, Preprocess
from trials.models.clip_vit_b32 import build
from trials.spec import SpecError
from trials.train import clone

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


def tiny(classes: int = 3, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(classes, 16, architecture="tiny", **settings).eval()


def refused(says: str, **settings: Any) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        build(3, 16, **settings)
    assert "\n" not in str(caught.value)


def theirs(clip: Any, prompts: tuple[str, ...], x: Tensor) -> Tensor:
    """The logits as transformers computes them, one prompt at a time and without padding."""
    mean = torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None]
    std = torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None]
    with torch.no_grad():
        columns = [clip(input_ids=tiny_clip.ids(p), pixel_values=(x - mean) / std).logits_per_image for p in prompts]
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
    assert torch.allclose(build(2, 32, weights=str(folder))(x), theirs(clip, ("class 0", "class 1"), x), atol=1e-4)


def test_of_imagenets_own_list_the_first_name_counts(shared: tuple[Path, Any], names: str, tmp_path: Path) -> None:
    lines = ["n01440764 tench, Tinca tinca", "n02084071 dog 2", "n04398044 tea house, tearoom", "n04398045 more"]
    (tmp_path / "LOC.txt").write_text("\n".join(lines))
    plain, listed = (build(3, 16, weights=str(shared[0]), names=n) for n in (names, str(tmp_path / "LOC.txt")))
    assert torch.equal(last_linear(plain).weight, last_linear(listed).weight)


@pytest.mark.parametrize("side", [20, 64])
def test_scales_as_pillow_does_bicubically(side: int) -> None:
    noise = torch.rand(side, side, 3, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3  # so Pillow clips nothing
    stored = (noise * 255).round().to(torch.uint8).numpy()
    wanted = torch.tensor(np.asarray(Image.fromarray(stored).resize((32, 32), Image.Resampling.BICUBIC))) / 255
    step = Preprocess(32)
    scaled = (
        step(torch.tensor(stored).permute(2, 0, 1)[None] / 255) * step.std[:, None, None] + step.mean[:, None, None]
    )
    assert float((scaled[0].permute(1, 2, 0) - wanted).abs().max()) < 1.5 / 255  # it rounds twice


def test_gradients_reach_every_pixel() -> None:
    x = torch.rand(2, 3, 20, 20, requires_grad=True)
    tiny()(x)[:, 0].sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all() and float((x.grad.abs() > 1e-9).float().mean()) > 0.99


def test_latents_are_unit_vectors_and_logits_their_scaled_cosines() -> None:
    model = tiny()
    latents, logits = with_latents(model, torch.rand(5, 3, 24, 24))
    assert latents.shape == (5, 64) and torch.allclose(latents.norm(dim=1), torch.ones(5), atol=1e-5)
    text = model.head.weight  # type: ignore[union-attr]
    assert torch.allclose(text.norm(dim=1), torch.ones(3), atol=1e-5)  # type: ignore[operator]
    assert torch.allclose(logits, model.logit_scale.exp() * latents @ text.T, atol=1e-4)  # type: ignore[operator, union-attr]


def test_the_real_architecture_has_its_number_of_weights_and_latents_of_512() -> None:
    with torch.device("meta"):
        model = build(1000, 224)
    tower, projection, scale = 87_456_000, 768 * 512, 1
    assert sum(p.numel() for p in model.parameters()) == tower + projection + scale
    assert last_linear(model).weight.shape == (1000, 512)
    assert model.normalize(torch.zeros(1, 3, 32, 32, device="meta")).shape == (1, 3, 224, 224)  # type: ignore[operator]


def step(model: nn.Module) -> nn.Module:
    """A copy as a defense makes it, after one large step of SGD."""
    copy = clone(model.requires_grad_(False))
    optimizer = torch.optim.SGD(copy.parameters(), 0.5, weight_decay=0.1)
    F.cross_entropy(copy(torch.rand(8, 3, 16, 16)), torch.arange(8) % 3).backward()
    optimizer.step()
    return copy


def test_frozen_text_stays_bit_for_bit_and_trained_text_moves() -> None:
    for text in ("frozen", "trained"):
        before = tiny(text=text)
        after = step(before)
        assert torch.equal(last_linear(before).weight, last_linear(after).weight) == (text == "frozen")
        assert not torch.equal(before.projection.weight, after.projection.weight)  # type: ignore[arg-type, union-attr]
    assert isinstance(last_linear(tiny()), FixedLinear) and "head.weight" in tiny().state_dict()


@pytest.mark.parametrize("text", ["frozen", "trained"])
def test_all_of_it_survives_artifacts_and_checkpoints(tmp_path: Path, text: str) -> None:
    given, x = step(tiny(text=text)), torch.rand(3, 3, 16, 16)
    Artifacts(tmp_path / "a").save("k", given.state_dict(), {})
    save_weights(given, tmp_path / "w.safetensors")
    for read in (
        lambda m: m.load_state_dict(Artifacts(tmp_path / "a").load("k")[0]),
        lambda m: load_weights(m, tmp_path / "w.safetensors"),
    ):
        torch.manual_seed(99)
        other = build(3, 16, architecture="tiny", text=text)  # type: ignore[arg-type]
        assert not torch.equal(other(x), given(x))
        read(other)
        assert torch.equal(other(x), given(x))


def test_learns_three_colours() -> None:
    model, rng = tiny().train(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        y = torch.randint(0, 3, (32,), generator=rng)
        x = 0.3 * torch.rand(32, 3, 16, 16, generator=rng) + 0.5 * F.one_hot(y, 3)[:, :, None, None]
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert float((model(x).argmax(1) == y).float().mean()) == 1.0


def test_logits_keep_full_precision_under_autocast() -> None:
    model, x = tiny(), torch.rand(2, 3, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        latents, low = with_latents(model, x)
    assert low.dtype == torch.float32 and torch.allclose(latents.norm(dim=1), torch.ones(2), atol=1e-6)
    assert not torch.equal(low, low.bfloat16().float())


def test_the_same_seed_gives_the_same_weights_and_text() -> None:
    states = [tiny().state_dict() for _ in range(2)]
    assert all(torch.equal(v, states[1][k]) for k, v in states[0].items())
    torch.manual_seed(1)
    assert not torch.equal(build(3, 16, architecture="tiny").state_dict()["head.weight"], states[0]["head.weight"])


def test_reads_half_precision_and_the_positions_of_older_files(shared: tuple[Path, Any], tmp_path: Path) -> None:
    clip = tiny_clip.write(tmp_path)
    state = {k: v.bfloat16() for k, v in load_file(tmp_path / "model.safetensors").items()}
    positions = {f"{t}_model.embeddings.position_ids": torch.arange(5)[None] for t in ("text", "vision")}
    save_file({**state, **positions}, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16", "torch_dtype": "bfloat16"}))
    model = build(3, 16, weights=str(tmp_path))
    assert {v.dtype for v in model.state_dict().values()} == {torch.float32}
    wanted = clip.visual_projection.weight.bfloat16().float()
    assert torch.equal(model.projection.weight, wanted)  # type: ignore[arg-type, union-attr]


def test_a_second_build_does_not_repeat_the_text_tower_but_sees_a_changed_folder(tmp_path: Path) -> None:
    tiny_clip.write(tmp_path)
    first, again = (last_linear(build(3, 16, weights=str(tmp_path))).weight for _ in range(2))
    assert torch.equal(first, again) and first.data_ptr() != again.data_ptr()
    state = load_file(tmp_path / "model.safetensors")
    time.sleep(0.01)
    save_file({**state, "text_projection.weight": -state["text_projection.weight"]}, tmp_path / "model.safetensors")
    assert torch.allclose(last_linear(build(3, 16, weights=str(tmp_path))).weight, -first)


def test_names_and_settings_that_do_not_fit_are_refused(shared: tuple[Path, Any], names: str, tmp_path: Path) -> None:
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


def rewrite(file: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_text(json.dumps(change(json.loads((folder / file).read_text()))))  # type: ignore[return-value]


def text_config(**changes: Any) -> Callable[[Path], None]:
    return rewrite("config.json", lambda c: {**c, "text_config": {**c["text_config"], **changes}})


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "only a pickle": (pickled, "never opened.*save_pretrained"),
    "no config": (lambda f: (f / "config.json").unlink(), "no folder with config.json"),
    "config is no json": (lambda f: (f / "config.json").write_text("{"), "no CLIP's configuration"),
    "another model": (rewrite("config.json", lambda c: {**c, "model_type": "bert"}), "model_type is 'bert'"),
    "an impossible model": (text_config(num_attention_heads=5), "describes no model|no CLIP's configuration"),
    "another size": (text_config(hidden_size=64), "does not fit the model"),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]),
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


def test_runs_no_code_from_a_folder(tmp_path: Path) -> None:
    tiny_clip.write(tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\nclass Evil: ...\n")
    for file in ("config.json", "tokenizer_config.json"):
        rewrite(file, lambda c: {**c, "auto_map": {"AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}})(
            tmp_path
        )
    assert build(3, 16, weights=str(tmp_path))(torch.rand(1, 3, 16, 16)).shape == (1, 3)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("defense", ["fine_pruning", "nad", "bn_refresh"])
def test_defenses_for_convolutional_networks_say_so_in_one_line(defense: str) -> None:
    trusted = Images(torch.zeros(8, 3, 16, 16, dtype=torch.uint8), torch.arange(8) % 3, 3)
    repair = catalog.find("defenses", defense)
    with pytest.raises(SpecError, match=f"{defense} needs a model") as caught:
        next(iter(repair(View(tiny(), trusted), torch.Generator(), 1, batch=4)))
    assert "\n" not in str(caught.value)
