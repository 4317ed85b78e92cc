"""The descent of gradient matching: how far its steps go, and what is refused of its settings."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from attackers import attacker_view
from torch import Generator

from trials import catalog
from trials.attacks._brewing import Brew
from trials.attacks._matching import Aim, aim_of
from trials.datasets import digits
from trials.models import small_cnn
from trials.spec import MethodConfig, SpecError, content_id
from trials.train import to_float

ATTACKS = ["sleeper_agent", "witches_brew"]
FEW: dict[str, dict[str, Any]] = {"sleeper_agent": {"m": 20}, "witches_brew": {}}


def aim(scale: float) -> Aim:
    """One whose slope is so many times as large."""
    torch.manual_seed(0)
    model = small_cnn.build(10, 8, width=4).eval()
    shown = to_float(digits.load("test", size=8).x[:1])
    found = aim_of(model, shown, "xent", 0, 3, "product", 0)
    return replace(found, wanted={k: g / scale for k, g in found.wanted.items()})


def resolved(attack: str, **settings: Any) -> MethodConfig:
    return catalog.resolve("attacks", MethodConfig(attack, settings))


def checked(attack: str, **settings: Any) -> None:
    view = replace(
        attacker_view(digits.load("train", size=8)), targets=lambda: digits.load("test", size=8)
    )
    check = catalog.find_check("attacks", attack)
    assert check is not None
    check(view, **resolved(attack, **FEW[attack], **settings).params)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_the_first_step_of_adam_is_the_rate_whatever_the_slopes_scale(
    attack: str, scale: float
) -> None:
    given: dict[str, Any] = {"epsilon": 64, "iterations": 1, "rate": 20.0, "schedule": False}
    given |= {"start": "zero", "batch": 64, "shift": 0.0, "flip": False, "optimizer": "adam"}
    brew = Brew(**given, adam_eps=float(resolved(attack, optimizer="adam").params["adam_eps"]))
    grey = torch.full((10, 3, 8, 8), 128, dtype=torch.uint8)
    grey += (torch.arange(192).view(3, 8, 8) % 5).to(torch.uint8)
    labels = torch.full((10,), 3)
    made, _ = brew.poisons([aim(scale)], grey, labels, Generator().manual_seed(0))
    moved = (made.int() - grey.int()).abs().double()
    assert float(moved.mean()) == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize(
    ("attack", "before"),
    [("sleeper_agent", "cb77df69214b62c9"), ("witches_brew", "0d52dc56f5060af5")],
)
def test_only_adam_has_another_id_than_before_its_steps_were_those_of_adam(
    attack: str, before: str
) -> None:
    assert content_id(resolved(attack).identity()) == before
    assert "adam_eps" not in resolved(attack, optimizer="pgd").identity()["params"]
    assert resolved(attack, optimizer="adam").identity()["params"]["adam_eps"] == 1e-20


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"optimizer": "pgd", "adam_eps": 1e-9},
            r'adam_eps = 1e-09 changes nothing with optimizer = "pgd"\. Leave it out',
        ),
        (
            {"augment": False, "shift": 0.25},
            r"shift = 0\.25 changes nothing with augment = false\. Leave it out",
        ),
        ({"adam_eps": 1e-31}, r"adam_eps must be at least 1e-30, .*; got 1e-31"),
    ],
)
def test_a_setting_of_the_descent_that_does_nothing_is_refused(
    attack: str, settings: dict[str, Any], says: str
) -> None:
    checked(attack, optimizer="adam", augment=False)
    with pytest.raises(SpecError, match=f"^{attack}: {says}") as told:
        checked(attack, **settings)
    assert len(str(told.value).splitlines()) == 1
