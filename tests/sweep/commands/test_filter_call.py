"""``filter`` from Python: live images in, a mapping and a row an image out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from live_objects import digits
from torch import Generator
from torch.utils.data import Dataset, TensorDataset

import poisonsweep
from trials.attacks import badnets
from trials.spec import SpecError
from trials.types import Images

SPEC: dict[str, Any] = {
    "flip": False,
    "training": {"name": "fast", "epochs": 2, "batch": 64, "peak": 0.2},
    "self_poisoning": {"attacks": 1, "kinds": "patch", "redraws": 0},
    "filters": [{"name": "spectral_signatures", "profile": "small", "reject": "recall"}],
    "compute": {"device": "cpu", "workers": 1},
}


def dataset(images: Images) -> Dataset[Any]:
    return TensorDataset(images.x.float() / 255, images.y)


def given() -> tuple[Images, Images]:
    """The first 300 digits are trusted, the others poisoned."""
    data = digits()
    known, rest = data.take(torch.arange(300)), data.take(torch.arange(300, len(data)))
    return badnets.poison(rest, Generator().manual_seed(0), m=60, target=3).train, known


def asked(out: Path, **changes: Any) -> poisonsweep.FilterOutcome:
    images, known = given()
    every = {"images": dataset(images), "trusted": dataset(known), "out": out, "spec": SPEC}
    return poisonsweep.filter(**{"arch": "small_cnn:width=8", **every, **changes})


@pytest.mark.slow
def test_live_images_have_a_row_each_in_their_order(tmp_path: Path) -> None:
    out = tmp_path / "kept"
    outcome = asked(out, retrain=False, progress=False)
    written = json.loads((out / "choice.json").read_text())
    assert {key: outcome[key] for key in written} == written
    assert outcome.verdict == written["verdict"] and written["filter"] == "spectral_signatures"
    labels = given()[0].y.tolist()
    assert outcome.scores["class"].astype(int).tolist() == labels
    assert int((~outcome.scores["kept"]).sum()) == outcome["removed"]
    assert {r.trial.game.name for r in outcome.records} >= {"filtering", "self_poison_data"}
    assert outcome.sentences()[0] == written["said"][0]
    assert outcome.verdict in outcome._repr_html_()
    assert not (out / "retrained.safetensors").exists()


@pytest.mark.slow
def test_repairs_are_tried_behind_the_filter_and_the_last_model_is_repaired_by_the_best(
    tmp_path: Path,
) -> None:
    fst = {"name": "fst", "profile": "small", "limit": 1, "fixed": {"steps": 50}}
    own = {"attacks": 1, "kinds": "patch", "redraws": 0, "least": 0.1, "most": 0.1}
    training = {**SPEC["training"], "epochs": 12}
    spec = {**SPEC, "training": training, "self_poisoning": own, "defenses": [fst]}
    spec["filters"] = [{"name": "spectral_signatures", "profile": "small", "reject": 0.02}]
    out = tmp_path / "kept"
    outcome = asked(out, repair=True, spec=spec, progress=False)
    repairs = (r for r in outcome.records if r.trial.game.name == "own_repair")
    tried = {str(r.trial.method and r.trial.method.name): r for r in repairs}
    assert set(tried) == {"none", "fst"}
    told, left = outcome["repair"], {name: r.curve for name, r in tried.items()}
    assert left["fst"][0].asr == left["none"][0].asr == told["alone"]["own_asr_left"]
    assert told["best"]["own_asr_left"] <= told["alone"]["own_asr_left"]
    # 2 % are removed, so a tenth of the set is the defender's own poison still
    assert told["alone"]["own_asr_left"] > 0.2
    assert told["applied"] == (out / "repaired.safetensors").exists()
    repair = told["taken"]["repair"]
    assert (repair == "fst") == ("this_set" in told) and any(
        "own poison" in n for n in outcome["notes"]
    )
    assert "Filters and repairs on own poison" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": "nowhere"}, "^images names 'nowhere', which does not exist"),
        ({"trusted": dataset(given()[0])}, "of the untrusted rows are trusted images as well"),
        ({"arch": "small_cnn:depth=3"}, "unknown setting of small_cnn in arch"),
        ({"minutes": 0}, "^minutes must be more than 0"),
        ({"norm": "other"}, "norm must be one of"),
        ({"trusted": 5}, "a torch Dataset of"),
        ({"repair": True, "retrain": False}, "repairs the last model: leave"),
        ({"spec": {**SPEC, "defenses": [{"name": "fst"}]}}, "are repairs of the last model: add"),
    ],
)
def test_what_does_not_fit_names_the_argument_and_leaves_nothing(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=says) as told:
        asked(tmp_path / "kept", **changes)
    assert "--" not in str(told.value) and "\n" not in str(told.value)
    assert not (tmp_path / "kept").exists()
