"""``filter``: a folder of unknown origin in, what is kept of it out; and what it refuses."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Generator

from sweep.commands.filter_images import carry_out, in_turn
from sweep.commands.filter_order import FILTERS, FilterOrder, prepare
from sweep.planning.stages import made_first
from trials.attacks import badnets
from trials.datasets import digits
from trials.spec import SpecError
from trials.types import Images

POISONED = 60
SPEC: dict[str, Any] = {
    "training": {"name": "fast", "epochs": 10, "batch": 64, "peak": 0.2},
    "self_poisoning": {"attacks": 3},
    "filters": [
        {"name": "spectral_signatures", "profile": "small", "reject": "recall", "quota": "capped"},
        {"name": "deep_knn", "profile": "small", "reject": "recall", "quota": "capped"},
    ],
    "compute": {"device": "cpu"},
}


def write(folder: Path, images: Images, bad: set[int] = frozenset()) -> None:  # type: ignore[assignment]
    for i in range(len(images)):
        file = folder / str(int(images.y[i])) / f"{'bad' if i in bad else 'ok'}-{i:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images.x[i].permute(1, 2, 0).numpy()).save(file)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits with a real backdoor in train/, and clean ones in clean/."""
    top = tmp_path_factory.mktemp("scraped")
    data = digits.load("train", size=16)
    order = data.y.argsort(stable=True)
    known = torch.zeros(len(data), dtype=torch.bool)
    known[order[::4]] = True
    found = badnets.poison(data.take(~known), Generator().manual_seed(0), m=POISONED, target=3)
    write(top / "train", found.train, set(found.places.tolist()))
    write(top / "clean", data.take(known))
    return top


def asked(folders: Path, out: Path, **changes: Any) -> FilterOrder:
    given = {"images": folders / "train", "trusted": folders / "clean", "out": out, **changes}
    given = {"arch": "small_cnn", "spec": SPEC, "flip": False, **given}
    return prepare(**given)


def refused(says: str, folders: Path, out: Path, **changes: Any) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        asked(folders, out, **changes)
    assert "\n" not in str(caught.value) and not out.exists()


def test_the_first_filter_has_its_turn_however_short_the_time(
    folders: Path, tmp_path: Path
) -> None:
    sweep = asked(folders, tmp_path / "kept").sweep
    before = [*made_first(sweep), "the set with own poison"]
    assert len(list(in_turn(sweep, 1e-9))) == len(before) + 1 < len(list(in_turn(sweep, 1e9)))


@pytest.mark.slow
def test_a_poisoned_folder_in_and_what_is_kept_out(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    told = carry_out(asked(folders, out))
    written = json.loads((out / "choice.json").read_text())
    assert {k: told[k] for k in written} == written
    assert told["verdict"] in ("filtered", "not sure", "too costly", "own poison left")
    assert told["exit_code"] == (0 if told["verdict"] == "filtered" else 3)
    kept = (out / "kept.txt").read_text().splitlines()
    with (out / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = sorted(p.relative_to(folders / "train").as_posix() for p in _files(folders / "train"))
    assert sorted(r["path"] for r in rows) == names  # the planted rows are none of them
    assert [r["path"] for r in rows if r["kept"] == "True"] == kept
    assert all(bool(r["reason"]) for r in rows if r["kept"] == "False")
    assert (
        told["removed"]
        == len(rows) - len(kept)
        == sum(c["removed"] for c in told["removed_by_class"].values())
    )
    assert told["filter"] in ("spectral_signatures", "deep_knn")
    for name in ("report.html", "retrained.safetensors"):
        assert (out / name).stat().st_size > 1000
    assert set(told["this_set"]["own_asr"]) == {"patch", "sinusoid", "blend"}
    assert told["sure"]["conformal_recall"] in (None, 0.9)  # a cap promises nothing
    # what is removed is poison far oftener than what is kept
    bad = [r["path"].split("/")[1].startswith("bad") for r in rows if r["kept"] == "False"]
    assert sum(bad) / len(bad) > 1.5 * POISONED / len(rows)
    again = carry_out(asked(folders, out))  # reads what is there
    assert again["removed"] == told["removed"] and again["set_aside"] is None


def _files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.png"))


def test_what_is_understood_writes_nothing(folders: Path, tmp_path: Path) -> None:
    order = asked(folders, tmp_path / "kept")
    assert not (tmp_path / "kept").exists() and len(order.paths) == len(order.labels)
    (victim,) = order.sweep.victims
    assert victim.attacks == () and victim.dataset.params["size"] == 16 and order.retrain
    assert order.said.endswith("the images' own size.")


def test_what_does_not_fit_is_left_out_where_nobody_asked_for_it(
    folders: Path, tmp_path: Path
) -> None:
    given = {"size": 16, "arch": "own_networks:Flat"}
    order = asked(folders, tmp_path / "kept", spec=None, **given)
    assert tuple(f.name for f in order.sweep.filters) == tuple(f for f in FILTERS if f != "psbd")
    (line,) = order.left_out
    assert line.startswith("psbd is left out: psbd needs a model with at least two stages")
    named = {**SPEC, "filters": [{"name": "psbd", "profile": "small", "reject": 0.4}]}
    refused("psbd needs a model with at least two", folders, tmp_path / "kept", spec=named, **given)


def test_trusted_images_in_the_set_are_refused(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "train", tmp_path / "train")
    file = next(iter(_files(folders / "clean")))
    shutil.copy(file, tmp_path / "train" / file.parent.name / "again.png")
    says = rf"1 of the untrusted rows are trusted images.*first is '{file.parent.name}/again.png'"
    refused(says, folders, tmp_path / "kept", images=tmp_path / "train")


def test_other_classes_are_refused(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "clean", tmp_path / "clean")
    (tmp_path / "clean" / "9").rename(tmp_path / "clean" / "nine")
    says = r"have no class '9', which the others have and a class 'nine'"
    refused(says, folders, tmp_path / "kept", trusted=tmp_path / "clean")


def test_one_class_is_refused(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "train" / "4", tmp_path / "train" / "4")
    refused("1 class folder, at least 2", folders, tmp_path / "kept", images=tmp_path / "train")


def test_unreadable_images_are_refused(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "train", tmp_path / "train")
    (tmp_path / "train" / "4" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    refused(r"broken\.png", folders, tmp_path / "kept", images=tmp_path / "train")


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        (
            [{"name": "badloss", "fixed": {"k": 9000, "probes": 100}, "reject": "recall"}],
            r"k = 9000 nearest of 100 probes: lower k",
        ),
        ([{"name": "badloss", "reject": 2}], r"reject must lie in \(0, 1\), got 2"),
        ([{"name": "badloss", "reject": "recal"}], r"one of own, recall, budget, mixture, got"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    filters: list[dict[str, Any]], says: str, folders: Path, tmp_path: Path
) -> None:
    refused(says, folders, tmp_path / "kept", spec={**SPEC, "filters": filters})


def test_other_things_are_refused(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    refused("--images names .* which does not exist", folders, out, images=tmp_path / "no")
    refused("--trusted names .* which does not exist", folders, out, trusted=tmp_path / "no")
    refused("minutes must be more than 0", folders, out, minutes=0)
    refused("unknown key of filter's --spec 'victim'", folders, out, spec={"victim": {}})
    with pytest.raises(SpecError, match="of which it would become a part"):
        asked(folders, folders / "train" / "kept")
