"""What a record says of the code that made its model."""

import subprocess
import sys
from pathlib import Path

import pytest
import tiny_sweep

from sweep.execution.worker import make_runtime
from trials import catalog
from trials.provenance import of_model
from trials.run import run
from trials.spec import MethodConfig

DIGEST = "from trials.provenance import of_model; from trials.spec import MethodConfig; "
DIGEST += "print(of_model(MethodConfig('own', {'callable': 'nets.small:Net'})))"


def digest_in(folder: Path) -> str:
    """The digest of nets.small:Net in a process that finds it in the folder."""
    paths = [str(folder), str(Path(__file__).parents[1])]
    code = f"import sys; sys.path[:0] = {paths!r}; {DIGEST}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_the_source_of_an_own_callable_is_known_with_its_package(tmp_path: Path) -> None:
    package = tmp_path / "nets"
    package.mkdir()
    for name in ("__init__", "small", "parts"):
        (package / f"{name}.py").write_text(f"NAME = {name!r}\n")
    first = digest_in(tmp_path)
    assert "model_source" in first and first == digest_in(tmp_path)
    (package / "parts.py").write_text("NAME = 'other'\n")
    assert digest_in(tmp_path) != first
    assert of_model(MethodConfig("own", {"callable": "nowhere:Net"})) == {"model_source": "unknown"}
    assert of_model(MethodConfig("small_cnn", {"width": 4})) == {}


@pytest.mark.parametrize("model", ["own", "timm"])
def test_a_record_has_it(model: str, tmp_path: Path) -> None:
    if model == "timm":
        version = pytest.importorskip("timm").__version__
    asked = {"own": "own_networks:Tiny,width=2", "timm": "timm:test_resnet"}[model]
    training = {**tiny_sweep.VICTIM["training"], "epochs": 1, "precision": "fp32"}
    victim = {**tiny_sweep.VICTIM, "model": asked, "training": training}
    sweep = tiny_sweep.sweep(victim=victim)
    trial = tiny_sweep.first(sweep, "training")
    record = run(trial, make_runtime(tiny_sweep.worker_config(tmp_path)))
    assert record.status == "done", record.error
    if model == "timm":
        assert record.provenance["timm"] == version
    else:
        known = of_model(catalog.resolve("models", trial.victim.model))["model_source"]
        assert record.provenance["model_source"] == known and len(known) == 16
