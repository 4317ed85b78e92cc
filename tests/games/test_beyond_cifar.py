"""The whole game beyond CIFAR: CLIP from a folder, torchvision's ResNet-18, and the layouts of the
larger data sets.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_clip
import tiny_sweep
import torch
from PIL import Image

from results.store import Store
from sweep.execution import runner
from sweep.spec import sweep_file
from trials.datasets.imagenette import _NAMES
from trials.spec import Record
from trials.storage.artifacts import Artifacts

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
    fill(tmp_path / "imagenet", COLOURS, train=60, test=15)
    return str(tmp_path / "imagenet")


def fill(folder: Path, wnids: Iterable[str], train: int, test: int) -> None:
    for part, number in (("train", train), ("val", test)):
        for k, wnid in enumerate(wnids):
            colour = COLOURS[wnid] if wnid in COLOURS else (25 * k, 90 * (k % 3), 250 - 25 * k)
            for i in range(number):
                write(folder / part / wnid / f"{wnid}_{i}.JPEG", noisy(colour, 100 * k + i))


def noisy(colour: tuple[int, int, int], seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(
        (np.array(colour) + rng.integers(-15, 16, (37, 41, 3))).clip(0, 255).astype(np.uint8)
    )


def write(file: Path, picture: Image.Image) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file)


def swept(
    root: str,
    size: int,
    defenses: tuple[str, ...],
    self_poisoning: Mapping[str, Any],
    dataset: str = "imagenet",
    m: int = 60,
    inspected: bool = True,
    **victim: Any,
) -> dict[str, list[Record]]:
    """The records by game of a sweep on images of ``size`` pixels under ``root``, its store and
    artifacts beside.

    Where models are inspected, a clean one is trained too, and tuned on.
    """
    folder = Path(root).parent
    attacks = [{"name": "badnets", "m": m, "patch": size // 4, "pipeline": "post_aug"}, "none"]
    detectors: list[dict[str, Any]] = [
        {
            "name": "neural_cleanse",
            "profile": "small",
            "limit": 1,
            "fixed": {"steps": 4, "batch": 8},
        },
        {
            "name": "calibrated_inversion",
            "profile": "small",
            "limit": 1,
            "fixed": {"steps": 4, "batch": 8},
        },
    ]
    table = {
        "trusted": 0.5 if inspected else 0.3,
        "victim": {
            "dataset": {"name": dataset, "root": root, "size": size},
            "attacks": attacks if inspected else attacks[:1],
            **victim,
        },
        "tuning": {"copies": 1, "record_every": 3, "delta": 0.2},
        "self_poisoning": {
            "scheme": "labels",
            "batch": 32,
            "check_every": 40,
            **self_poisoning,
        },
        "defenses": [{"name": d, "profile": "small", "limit": 1, "fixed": SHORT} for d in defenses],
        "detectors": [
            {**d, "repairs": [defenses[0]]} if "inv" in d["name"] else d
            for d in detectors
            if inspected
        ],
        "tune_on": "clean" if inspected else "each",
        "compute": {"device": "cpu", "workers": 1, "cpus": 1},
    }
    with Store.open(f"sqlite:///{folder}/s.db") as store:
        runner.execute(
            sweep_file.parse(table, "beyond"),
            store,
            tiny_sweep.worker_config(folder / "artifacts"),
            use_ray=False,
        )
        found: dict[str, list[Record]] = {}
        for record in store.records():
            assert record.status == "done", record.error
            found.setdefault(record.trial.game.name, []).append(record)
    torch.set_num_threads(1)
    return found


def assert_whole(
    found: dict[str, list[Record]], defenses: tuple[str, ...], inspected: bool = True
) -> None:
    """A backdoor that works, one planted in a copy of the clean model, every defense tuned, all
    models scored.
    """
    assert {game: len(records) for game, records in found.items()} == {
        "training": 1 + inspected,
        "self_poison": 1,
        "tuning": len(defenses),
        "confirmation": 1,
        "robustness": len(defenses),
        **({"detectability": 4} if inspected else {}),
    }
    assert all(np.isfinite(r.metrics["score"]) for r in found.get("detectability", []))
    (victim,) = (r.metrics for r in found["training"] if r.trial.victim.attacks)
    copy = found["self_poison"][0].metrics
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
    model = {
        "name": "clip_vit_b32",
        "weights": str(tmp_path / "clip"),
        "names": str(tmp_path / "names.txt"),
    }
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
    (clean,) = (r for r in found["training"] if not r.trial.victim.attacks)
    victim, copy = (kept.load(r.trial.id)[0] for r in (clean, found["self_poison"][0]))
    assert torch.equal(victim["head.weight"], copy["head.weight"])  # the frozen text embeddings
    assert not torch.equal(victim["projection.weight"], copy["projection.weight"])


def test_torchvisions_resnet_is_swept_on_imagenets_layout(imagenet: str) -> None:
    defenses = ("weight_decay", "fine_pruning")
    found = swept(
        imagenet,
        32,
        defenses,
        {"steps": 20, "lr": 0.02, "share": 0.5, "reach": 0.1, "check_every": 10},
        model="torchvision_resnet18",
        training={"name": "fast", "epochs": 6, "batch": 16, "peak": 0.05},
        inspected=False,
    )
    assert_whole(found, defenses, inspected=False)


def imagenette(folder: Path) -> None:
    fill(folder, list(_NAMES), train=14, test=4)


def gtsrb(folder: Path) -> None:
    """Signs told apart by colour, in torchvision's layout."""
    base, rows = folder / "gtsrb", []
    for label in range(43):
        colour = (6 * label, 80 * (label % 4), 60 * (label % 5))
        for i in range(10):
            write(
                base / "GTSRB" / "Training" / f"{label:05d}" / f"{i // 5:05d}_{i % 5:05d}.ppm",
                noisy(colour, label + i),
            )
        write(base / "GTSRB" / "Final_Test" / "Images" / f"{label:05d}.ppm", noisy(colour, label))
        rows.append(f"{label:05d}.ppm;32;32;0;0;31;31;{label}")
    table = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    (base / "GT-final_test.csv").write_text("\r\n".join([table, *rows]) + "\r\n")


@pytest.mark.parametrize("lay_out", [imagenette, gtsrb])
def test_a_layout_is_swept_from_its_files_to_scores(
    lay_out: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POISONSWEEP_CACHE", str(tmp_path / "cache"))
    lay_out(tmp_path / "data")
    found = swept(
        str(tmp_path / "data"),
        32,
        ("weight_decay",),
        {"steps": 40, "lr": 0.05, "share": 0.5, "reach": 0.1},
        dataset=lay_out.__name__,
        m=30,
        model={"name": "small_cnn", "width": 16},
        training={"name": "fast", "epochs": 2, "batch": 16, "peak": 0.1},
    )
    assert {game: len(records) for game, records in found.items()} == {
        "training": 2,
        "self_poison": 1,
        "tuning": 1,
        "confirmation": 1,
        "robustness": 1,
        "detectability": 4,
    }
    numbers = {(r.metrics["n_train"], r.metrics["n_clean"]) for r in found["training"]}
    assert numbers == {(140, 40) if lay_out is imagenette else (430, 43)}
    assert all(np.isfinite(r.metrics["score"]) for r in found["detectability"])
