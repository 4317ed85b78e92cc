"""Repairs in bf16: what runs in it, what does not, and that a repair is one."""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials import catalog
from trials.defenses.nad import attention
from trials.defenses.pivotal_tuning import latent_term
from trials.metrics import predictions
from trials.train import autocast, clone, cross_entropy, full, in_precision
from trials.types import DefenderView

from .test_shared import NAMES, cheap
from .tiny import digits, fresh_view, measure, run

LOW = [n for n in NAMES if "precision" in catalog.describe("defenses", n).settings]
EXACT = [
    "anp",
    "clp",
    "i_bau",
    "nft",
    "rnp",
    "sau",
    "tsbd",
    "ulrl",
]  # small numbers count; the docs say which


def rng() -> Generator:
    return Generator().manual_seed(1)


def test_those_that_descend_have_it_and_those_of_small_numbers_do_not() -> None:
    assert {"fine_tuning", "fst", "ft_sam", "nad", "overlay_soup"} <= set(LOW)
    assert set(LOW).isdisjoint(EXACT)
    assert sorted([*LOW, *EXACT, "bn_refresh", "none"]) == NAMES


@pytest.mark.parametrize("name", LOW)
def test_steps_run_in_bf16_and_what_they_leave_is_float32(name: str) -> None:
    """Seen by a hook on a convolution, which copies of the model carry with them."""
    seen: dict[str, set[torch.dtype]] = {}
    for precision in ("fp32", "bf16"):
        view, outputs = fresh_view(), set[torch.dtype]()

        def look(net: nn.Module, _: object, out: Tensor, kinds: set[torch.dtype] = outputs) -> None:
            if net.training:
                kinds.add(out.dtype)

        view.model.get_submodule("layer1.conv1").register_forward_hook(look)
        params = {**cheap(name), "precision": precision}
        for _, model in catalog.find("defenses", name)(view, rng(), 2, **params):
            kinds = {p.dtype for p in model.state_dict().values() if p.is_floating_point()}
            assert kinds == {torch.float32}
            predictions(model, view.trusted.x)
        seen[precision] = outputs
    assert seen["fp32"] == {torch.float32}
    assert torch.bfloat16 in seen["bf16"]
    # running statistics are taken anew in float32
    assert seen["bf16"] == {torch.bfloat16} or name == "overlay_soup"


@pytest.mark.parametrize("adaptive", [True, False])
def test_the_second_gradient_of_a_step_is_taken_at_the_moved_weights(adaptive: bool) -> None:
    """A cast of the weights that autocast had kept would be that of where they were."""
    ends = [
        run(
            catalog.find("defenses", "ft_sam")(
                fresh_view(), rng(), 1, steps=1, batch=16, lr=1.0, schedule="constant",
                precision=precision, radius=radius, adaptive=adaptive,
            )
        )[-1][1]
        for precision, radius in (("fp32", 8.0), ("bf16", 8.0), ("fp32", 1e-6))
    ]  # fmt: skip
    there, low, here = (e["head.weight"] for e in ends)
    assert float((there - low).norm()) < 0.5 * float((there - here).norm())


def test_fp32_is_the_loss_itself() -> None:
    assert in_precision("fp32", cross_entropy) is cross_entropy


def test_gradients_in_bf16_are_near_those_in_fp32_and_are_float32() -> None:
    view = fresh_view()
    x, y = view.trusted.x.float() / 255, view.trusted.y
    found = []
    for precision in ("fp32", "bf16"):
        model = clone(view.model).train()
        loss = in_precision(precision, cross_entropy)(model, x, y)
        assert loss.dtype == torch.float32
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert len(gradients) == len(list(model.parameters()))
        assert {g.dtype for g in gradients} == {torch.float32}
        found.append(torch.cat([g.flatten() for g in gradients]))
    high, low = found
    assert float(F.cosine_similarity(high, low, dim=0)) > 0.97
    assert not torch.equal(high, low)


def test_terms_of_a_loss_are_float32_whatever_the_activations_are() -> None:
    maps = torch.rand(3, 4, 5, 5, generator=rng())
    assert attention(maps.bfloat16(), 2).dtype == torch.float32
    assert full(maps.double()).dtype == torch.float64
    latents, given = torch.randn(2, 12, 6, generator=rng())
    y = torch.arange(12) % 3
    term = latent_term(latents, given, y, "release")
    with autocast(latents.device, low=True), autocast(latents.device, low=False):
        assert torch.equal(latent_term(latents, given, y, "release"), term)


@pytest.mark.slow
def test_a_repair_in_bf16_removes_the_backdoor_and_keeps_the_accuracy(victim: nn.Module) -> None:
    _, trusted, test = digits()
    found = measure(victim, test)
    assert found[1] > 0.95
    params = {"steps": 150, "batch": 32, "lr": 0.1, "precision": "bf16"}
    for _, model in catalog.find("defenses", "fst")(
        DefenderView(victim, trusted), Generator().manual_seed(0), 999, **params
    ):
        found = measure(model, test)
    assert found[0] > 0.9
    assert found[1] < 0.35


def test_fine_tuning_in_bf16_lowers_the_loss() -> None:
    view = fresh_view()
    x, y = view.trusted.x.float() / 255, view.trusted.y
    before = float(cross_entropy(view.model, x, y).detach())
    ends = run(
        catalog.find("defenses", "fine_tuning")(
            view, rng(), 99, steps=60, lr=0.05, batch=40, precision="bf16"
        )
    )
    tuned = clone(view.model)
    tuned.load_state_dict(ends[-1][1])
    assert float(cross_entropy(tuned.eval(), x, y).detach()) < 0.8 * before
