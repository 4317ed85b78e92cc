"""Which defenses and detectors a model can have, without training it."""

import json
from pathlib import Path

import pytest
import torch
from colour_model import model

from sweep.cli import main
from sweep.commands.fitting import fitting
from trials import catalog
from trials.spec import SpecError


def test_a_cnn_with_batch_normalisation_can_have_every_method(tmp_path: Path) -> None:
    weights = model(tmp_path / "m.safetensors", range(4), 4)
    for asked in (str(weights), "small_cnn:width=4"):
        found = fitting("defenses", asked, 32)
        assert found.model == "small_cnn:width=4"
        assert dict(found.lacks) == dict.fromkeys(catalog.names("defenses"), "")


def test_what_a_model_lacks_is_said_for_each_method() -> None:
    found = fitting("defenses", "torchvision:squeezenet1_1", 64).lacks
    needing = {"anp", "bn_refresh", "clp", "nft", "overlay_soup", "rnp"}  # kinds of normalisation
    assert {name for name, why in found.items() if "normali" in why} == needing
    assert found["bn_refresh"] == "needs a model with batch normalisation"
    assert found["weight_decay"] == ""
    assert set(fitting("detectors", "torchvision:squeezenet1_1", 64).lacks.values()) == {""}


def test_the_command_shows_a_line_each_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    for extra in ([], ["--json"]):
        with pytest.raises(SystemExit, match="0"):
            main(["list", "defenses", "--for", "own_networks:Numbers", *extra])
        said = " ".join(capsys.readouterr().out.split())
        if extra:
            assert json.loads(said)["defenses"]["clp"]["fits"] is False
        else:
            assert "needs a model with convolutions followed by batch normalisation" in said


@pytest.mark.usefixtures("quick_reader")
def test_what_is_no_model_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"x.weight": torch.ones(3, 3)}, tmp_path / "m.pt")
    (tmp_path / "empty.pt").touch()
    for words, says in (
        (["list", "attacks", "--for", "small_cnn"], "--for goes with defenses or detectors"),
        (["list", "defenses", "--for", f"{tmp_path}/m.pt"], "fits none of the known architectures"),
        (["list", "defenses", "--for", f"{tmp_path}/empty.pt"], "empty.pt"),
        (["list", "defenses", "--for", f"{tmp_path}/nowhere.pt"], "unknown model"),
        (["list", "defenses", "--for", "torchvision:resnet19"], "Did you mean"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(words)
        said = capsys.readouterr().err
        assert says in said and said.count("\n") == 1, said


def test_no_kind_but_those_with_needs_is_taken() -> None:
    with pytest.raises(SpecError, match="--for goes with defenses or detectors"):
        fitting("", "small_cnn", 32)
