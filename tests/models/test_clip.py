"""CLIP as a classifier: what it computes, what is trained, what is saved, and which defenses suit
it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from trials import catalog
from trials.classifier import Classifier, with_latents
from trials.models._clip import FixedLinear, Preprocess
from trials.models.clip_vit_b32 import build
from trials.spec import SpecError
from trials.storage.artifacts import Artifacts
from trials.train import clone
from trials.types import DefenderView, Images
from trials.weights.files import load_weights, save_weights


def tiny(classes: int = 3, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(classes, 16, architecture="tiny", **settings).eval()


@pytest.mark.parametrize("side", [20, 64])
def test_scales_as_pillow_does_bicubically(side: int) -> None:
    # so Pillow clips nothing
    noise = torch.rand(side, side, 3, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    stored = (noise * 255).round().to(torch.uint8).numpy()
    wanted = (
        torch.tensor(np.asarray(Image.fromarray(stored).resize((32, 32), Image.Resampling.BICUBIC)))
        / 255
    )
    step = Preprocess(32)
    scaled = (
        step(torch.tensor(stored).permute(2, 0, 1)[None] / 255) * step.std[:, None, None]
        + step.mean[:, None, None]
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
    assert latents.shape == (5, 64) and torch.allclose(
        latents.norm(dim=1), torch.ones(5), atol=1e-5
    )
    text = model.head.weight  # type: ignore[union-attr]
    assert torch.allclose(text.norm(dim=1), torch.ones(3), atol=1e-5)  # type: ignore[operator]
    assert torch.allclose(logits, model.logit_scale.exp() * latents @ text.T, atol=1e-4)  # type: ignore[operator]


def test_the_real_architecture_has_its_number_of_weights_and_latents_of_512() -> None:
    with torch.device("meta"):
        model = build(1000, 224)
    tower, projection, scale = 87_456_000, 768 * 512, 1
    assert sum(p.numel() for p in model.parameters()) == tower + projection + scale
    assert isinstance(model.head, FixedLinear) and model.head.weight.shape == (1000, 512)
    assert model.normalize(torch.zeros(1, 3, 32, 32, device="meta")).shape == (1, 3, 224, 224)  # type: ignore[operator]


def step(model: nn.Module) -> nn.Module:
    """A copy as a defense makes it, after one large step of SGD."""
    copy = clone(model.requires_grad_(False))
    optimizer = torch.optim.SGD(copy.parameters(), 0.5, weight_decay=0.1)
    F.cross_entropy(copy(torch.rand(8, 3, 16, 16)), torch.arange(8) % 3).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return copy


def test_frozen_text_stays_bit_for_bit_and_trained_text_moves() -> None:
    for text in ("frozen", "trained"):
        before = tiny(text=text)
        after = step(before)
        assert torch.equal(Classifier(before).head.weight, Classifier(after).head.weight) == (
            text == "frozen"
        )
        assert not torch.equal(before.projection.weight, after.projection.weight)  # type: ignore[arg-type, union-attr]
    assert isinstance(Classifier(tiny()).head, FixedLinear) and "head.weight" in tiny().state_dict()


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
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float((model(x).argmax(1) == y).float().mean()) == 1.0


def test_logits_keep_full_precision_under_autocast() -> None:
    model, x = tiny(), torch.rand(2, 3, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        latents, low = with_latents(model, x)
    assert low.dtype == torch.float32 and torch.allclose(
        latents.norm(dim=1), torch.ones(2), atol=1e-6
    )
    assert not torch.equal(low, low.bfloat16().float())


def test_the_same_seed_gives_the_same_weights_and_text() -> None:
    states = [tiny().state_dict() for _ in range(2)]
    assert all(torch.equal(v, states[1][k]) for k, v in states[0].items())
    torch.manual_seed(1)
    assert not torch.equal(
        build(3, 16, architecture="tiny").state_dict()["head.weight"], states[0]["head.weight"]
    )


@pytest.mark.parametrize("defense", ["clp", "overlay_soup", "bn_refresh"])
def test_defenses_for_convolutional_networks_say_so_in_one_line(defense: str) -> None:
    trusted = Images(torch.zeros(8, 3, 16, 16, dtype=torch.uint8), torch.arange(8) % 3, 3)
    repair = catalog.find("defenses", defense)
    with pytest.raises(SpecError, match=f"{defense} needs a model") as caught:
        next(iter(repair(DefenderView(tiny(), trusted), torch.Generator(), 1)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "defense", ["pivotal_tuning", "weight_decay", "fine_tuning", "neural_cleanse"]
)
def test_the_other_defenses_change_the_image_tower_and_leave_the_text(defense: str) -> None:
    rng = torch.Generator().manual_seed(0)
    trusted = Images(
        torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=rng),
        torch.arange(12) % 3,
        3,
    )
    given, settings = tiny(), {"steps": 2, "batch": 4, "lr": 0.1}
    if defense == "neural_cleanse":
        settings["steps_per_class"] = 2
    (done,) = catalog.find("defenses", defense)(DefenderView(given, trusted), rng, 2, **settings)
    before, after = given.state_dict(), done[1].state_dict()
    assert done[0] == 2 and all(torch.isfinite(v).all() for v in after.values())
    assert torch.equal(before["head.weight"], after["head.weight"])
    assert not torch.equal(before["projection.weight"], after["projection.weight"])
