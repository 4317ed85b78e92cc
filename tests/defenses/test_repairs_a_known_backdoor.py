"""Each defense removes a strong, known backdoor at a setting that this file names, and the controls
do not.
"""

import pytest
from torch import Generator, nn

from trials import catalog
from trials.spec import Scalar
from trials.types import DefenderView

from .tiny import digits, measure

CONTROLS = ["bn_refresh", "fine_tuning", "none"]
COMMON: dict[str, Scalar] = {"steps": 150, "batch": 32}
SETTINGS: dict[str, dict[str, Scalar]] = {
    "fine_pruning": {"lr": 0.1, "rho": 0.7},
    "nad": {"lr": 0.03, "teacher_lr": 0.03, "lambda_at": 100.0, "teacher_steps": 100},
    "neural_cleanse": {"lr": 0.03, "inversion_lr": 0.1, "steps_per_class": 50},
    "pivotal_tuning": {"lr": 0.03, "lambda_s": 0.05},
    "weight_decay": {"lr": 0.03, "lambda_w": 0.02},
}


def last(name: str, victim: nn.Module, **params: Scalar) -> tuple[float, float]:
    """CDA and ASR after the last step."""
    _, trusted, test = digits()
    found = measure(victim, test)
    for _, model in catalog.find("defenses", name)(
        DefenderView(victim, trusted), Generator().manual_seed(0), 999, **params
    ):
        found = measure(model, test)
    return found


def test_the_backdoor_is_there(victim: nn.Module) -> None:
    cda, asr = last("none", victim)
    assert cda > 0.95
    assert asr > 0.95


@pytest.mark.parametrize(
    "name", SETTINGS, ids=lambda n: f"{n}-{'-'.join(f'{k}={v}' for k, v in SETTINGS[n].items())}"
)
def test_removes_it_and_keeps_the_accuracy(name: str, victim: nn.Module) -> None:
    cda, asr = last(name, victim, **COMMON, **SETTINGS[name])
    assert asr < 0.35
    assert cda > 0.9


@pytest.mark.parametrize("name", ["bn_refresh", "fine_tuning"])
def test_a_gentle_control_leaves_it(name: str, victim: nn.Module) -> None:
    """Otherwise the test above would show nothing of the defenses."""
    cda, asr = last(name, victim, **COMMON)
    assert asr > 0.9
    assert cda > 0.95


def test_every_defense_that_is_no_control_is_tried_here() -> None:
    assert sorted([*SETTINGS, *CONTROLS]) == catalog.names("defenses")
