"""The whole game beyond CIFAR: CLIP from a folder, and torchvision's ResNet-18, on files in ImageNet's layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_clip
import tiny_sweep
import torch
from PIL import Image

from results.store import Store
from sweep import config, engine
from trials.artifacts import Artifacts
from trials.spec import Record

pytestmark = pytest.mark.slow
COLOURS = {
    "n01440764": (200, 40, 40),
    "n02084071": (40, 200, 40),
    "n02403454": (40, 40, 200),
    "n04398044": (180, 180, 40),
}
NAMES = "tench\ndog 2\nox\ntea house\n"
SHORT = {"steps": 6, "batch": 16, "lr": 0.01}


@pytest.fixture
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Four classes told apart by colour: 240 training and 60 validation images."""
    monkeypatch.setenv("POISONSWEEP_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for part, number in (("train", 60), ("val", 15)):
        for wnid, colour in COLOURS.items():
            folder = tmp_path / "imagenet" / part / wnid
            folder.mkdir(parents=True)
            for i in range(number):
                noisy = np.array(colour) + rng.integers(-15, 16, (37, 41, 3))
                Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{wnid}_{i}.JPEG", quality=95)
    return str(tmp_path / "imagenet")


def swept(
    root: str, size: int, defenses: tuple[str, ...], planting: Mapping[str, Any], **victim: Any
) -> dict[str, list[Record]]:
    """The records by game of a sweep on images of ``size`` pixels under ``root``, its store and artifacts beside."""
    folder = Path(root).parent
    attack = {"name": "badnets", "m": 60, "patch": size // 4, "pipeline": "post_aug"}
    table = {
        "trusted": 0.3,
        "victim": {"dataset": {"name": "imagenet", "root": root, "size": size}, "attacks": [attack], **victim},
        "tuning": {"copies": 1, "record_every": 3, "delta": 0.2},
        "planting": {"batch": 32, "check_every": 40, **planting},
        "defenses": [{"name": d, "profile": "small", "limit": 1, "fixed": SHORT} for d in defenses],
        "compute": {"device": "cpu", "workers": 1},
    }
    with Store.open(f"sqlite:///{folder}/s.db") as store:
        engine.execute(config.parse(table, "beyond"), store, tiny_sweep.place(folder / "artifacts"), use_ray=False)
        found: dict[str, list[Record]] = {}
        for record in store.records():
            assert record.status == "done", record.error
            found.setdefault(record.trial.game.name, []).append(record)
    torch.set_num_threads(1)
    return found


def assert_whole(found: dict[str, list[Record]], defenses: tuple[str, ...]) -> None:
    """A backdoor that works, planted again in a copy, every defense tuned on it, and the winner confirmed."""
    assert {game: len(records) for game, records in found.items()} == {
        "training": 1,
        "self_poison": 1,
        "tuning": len(defenses),
        "confirmation": 1,
        "robustness": len(defenses),
    }
    victim, copy = found["training"][0].metrics, found["self_poison"][0].metrics
    reach = float(found["self_poison"][0].trial.game.params["reach"])
    assert victim["n_train"] == 240 and victim["n_clean"] == 60 and victim["n_triggered"] == 45
    assert victim["cda"] > 0.8 and victim["asr"] > 0.8 and victim["clean_to_target"] < 0.2
    assert copy["asr"] >= reach > copy["asr_before"]
    for record in found["tuning"]:
        assert [p.step for p in record.curve] == [0, 3, 6]
        assert record.curve[0].asr == record.metrics["asr0"] > 0.05


def test_clip_is_swept_from_a_folder_to_a_confirmed_winner(imagenet: str, tmp_path: Path) -> None:
    tiny_clip.write(tmp_path / "clip")
    (tmp_path / "names.txt").write_text(NAMES)
    defenses = ("pivotal_tuning", "weight_decay", "fine_tuning")
    model = {"name": "clip_vit_b32", "weights": str(tmp_path / "clip"), "names": str(tmp_path / "names.txt")}
    found = swept(
        imagenet,
        16,
        defenses,
        {"steps": 120, "lr": 0.03, "share": 0.4, "reach": 0.3},
        model=model,
        training={"name": "fast", "epochs": 4, "batch": 16, "peak": 0.1},
    )
    assert_whole(found, defenses)
    kept = Artifacts(tmp_path / "artifacts")
    victim, copy = (kept.load(found[game][0].trial.id)[0] for game in ("training", "self_poison"))
    assert torch.equal(victim["head.weight"], copy["head.weight"])  # the frozen text embeddings
    assert not torch.equal(victim["projection.weight"], copy["projection.weight"])


def test_torchvisions_resnet_is_swept_on_imagenets_layout(imagenet: str) -> None:
    defenses = ("weight_decay", "fine_pruning")
    found = swept(
        imagenet,
        32,
        defenses,
        {"steps": 40, "lr": 0.003, "share": 0.5, "reach": 0.1},
        model="torchvision_resnet18",
        training={"name": "fast", "epochs": 3, "batch": 16, "peak": 0.05},
    )
    assert_whole(found, defenses)
