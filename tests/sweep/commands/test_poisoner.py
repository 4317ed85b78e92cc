"""Copies of a network without normalisation are poisoned by Adam, unless the sweep says how."""

from pathlib import Path
from typing import Any

import pytest
from given_model import ARCH, make

from sweep.commands.asked import sweep_of
from sweep.commands.poisoner import with_optimizer
from sweep.execution.runner import worker_config_of
from sweep.planning import expansion
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.spec import MethodConfig

PLAIN = "torchvision:squeezenet1_1"  # without normalisation
GROUPED = f"{ARCH},groups=4"  # group normalisation in place of batch normalisation
LAYERED = "torchvision:swin_t"  # layer normalisation
SPEC: dict[str, Any] = {"defenses": [{"name": "none"}], "compute": {"device": "cpu"}}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("given"))


def made(given: Path, arch: str, **own: Any) -> tuple[Sweep, Sweep, str]:
    """The sweep before and after, and what was said."""
    spec = {**SPEC, **({"self_poisoning": own} if own else {})}
    size = 32 if arch == PLAIN else 16
    sweep = sweep_of(given / "model.safetensors", arch, given / "trusted", spec, size=size)
    return sweep, *with_optimizer(sweep, worker_config_of(sweep, f"sqlite:///{given}/s.db"))


@pytest.mark.parametrize("scheme", ["labels", "distilled", "late"])
def test_a_network_without_normalisation_gets_adam_at_its_own_rate(
    given: Path, scheme: str
) -> None:
    _, sweep, said = made(given, PLAIN, scheme=scheme, reach=0.8)
    (copy, *_) = expansion.copies(sweep)
    written = {key: copy.game.params[key] for key in ("optimizer", "lr", "scheme", "reach")}
    assert written == {"optimizer": "adam", "lr": 0.001, "scheme": scheme, "reach": 0.8}
    assert copy.game.identity()["params"]["optimizer"] == "adam"  # it is in what is stored
    assert "no normalisation layer" in said and "Adam" in said and "0.001" in said


@pytest.mark.parametrize("arch", [ARCH, GROUPED, LAYERED])
def test_one_with_normalisation_is_poisoned_as_before(given: Path, arch: str) -> None:
    before, after, said = made(given, arch, scheme="distilled")
    assert after == before and not said
    (copy, *_) = expansion.copies(after)
    assert "optimizer" not in copy.game.identity()["params"] and copy.game.params["lr"] == 0.1


@pytest.mark.parametrize("own", [{"lr": 0.03}, {"optimizer": "sgd"}])
def test_what_the_sweep_says_goes_first(given: Path, own: dict[str, Any]) -> None:
    before, after, said = made(given, PLAIN, **own)
    assert after == before and not said


def test_a_given_rate_of_adam_goes_before_its_own() -> None:
    game = MethodConfig("self_poison", {"optimizer": "adam", "lr": 0.01, "scheme": "late"})
    params = catalog.resolve("games", game).params
    assert (params["lr"], params["steps"], params["batch"]) == (0.01, 1300, 64)
