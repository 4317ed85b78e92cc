"""Every attack, defense and detector there is, in one sweep on a GPU: nothing may be left on the
other device.
"""

from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
import torch

from results.store import Store
from sweep.execution import runner
from sweep.spec import sweep_file
from trials import catalog

pytestmark = pytest.mark.gpu
CONTROLS: dict[str, dict[str, Any]] = {"none": {}, "bn_refresh": {"steps": 6}}
ATTACKS: dict[str, dict[str, Any]] = {"pcb": {}, "adv": {"m": 60, "steps": 2}}


@pytest.fixture
def spec() -> dict[str, Any]:
    triggered = [
        a for a in catalog.names("attacks") if not catalog.describe("attacks", a).triggerless
    ]
    attacks = [{"name": a, **ATTACKS.get(a, {"m": 60})} for a in triggered]
    attacks.append({"name": "badnets", "m": 60, "pipeline": "release"})
    steps = {"steps": 6, "batch": 16}
    defenses = [
        {"name": d, "profile": "small", "limit": 1, "fixed": CONTROLS.get(d, steps)}
        for d in catalog.names("defenses")
    ]
    detectors = [
        {"name": d, "profile": "small", "limit": 2, "fixed": {"steps": 6}, **extra}
        for d in catalog.names("detectors")
        for extra in [
            {"repairs": ["fine_tuning"]} if catalog.describe("detectors", d).compares else {}
        ]
    ]
    return tiny_sweep.table(
        tune_on="clean",
        victim={**tiny_sweep.VICTIM, "attacks": ["none", *attacks]},
        tuning={"copies": 2, "record_every": 3},
        defenses=defenses,
        detectors=detectors,
        compute={"device": "cuda", "gpus": 0.1, "workers": 8, "abort_at": 1},
    )


def test_every_method_runs_on_a_gpu(spec: dict[str, Any], tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    sweep, url = sweep_file.parse(spec, "gpu"), f"sqlite:///{tmp_path}/store.db"
    with Store.open(url) as store:
        runner.execute(sweep, store, runner.worker_config_of(sweep, url), use_ray=False)
        records = store.records("gpu")
    failed = {
        (r.trial.game.name, (r.error or "").strip().splitlines()[-1])
        for r in records
        if r.status != "done"
    }
    assert not failed
    assert {r.provenance["device"].split(":")[0] for r in records} == {"cuda"}
    games = {
        "training",
        "self_poison",
        "tuning",
        "confirmation",
        "robustness",
        "detector_tuning",
        "detectability",
    }
    assert {r.trial.game.name for r in records} == games
