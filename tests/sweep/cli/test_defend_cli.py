"""`defend` on the command line: its options, its exit codes, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from given_model import asked, make, words
from PIL import Image

from results.store import Store
from sweep.cli import main
from sweep.commands.asked import sweep_of
from sweep.spec.sweep_file import Sweep

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "defend.toml"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("given"))


def called(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def of(given: Path, **how: Any) -> Sweep:
    told = asked(given)
    return sweep_of(
        told["model"], told["arch"], told["trusted"], how.pop("spec", told["spec"]), size=16, **how
    )


def test_a_plan_says_what_was_understood_and_writes_nothing(
    given: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert called(*words(given, tmp_path / "out"), "--plan") == 0
    said = capsys.readouterr().out
    assert "300 trusted images, 28 to 32 of each of 10 classes. Training mirrors no image." in said
    assert "self-poisoned copies" in said and "weight_decay" in said and "trials to run" in said
    assert not list(tmp_path.iterdir())


def test_a_plan_as_json_is_nothing_else(given: Path, tmp_path: Path, capsys: Capture) -> None:
    assert called(*words(given, tmp_path / "out"), "--plan", "--json") == 0
    said = capsys.readouterr()
    rows = {row["what"]: row["trials"] for row in json.loads(said.out)}
    assert rows == {
        "victims": 1,
        "self-poisoned copies": 1,
        "weight_decay": 2,
        "none": 1,
        "the best, on report images": 1,
    }
    assert "300 trusted images" in said.err


@pytest.mark.slow
def test_options_go_before_the_spec_and_the_answer_is_json(
    given: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    code = called(*words(given, out), "--json", "--seed", "7", "--device", "cpu", "--flip")
    told = json.loads(capsys.readouterr().out)
    assert code == told["exit_code"] == (0 if told["verdict"] == "repaired" else 3)
    assert told["understood"]["flip"] and "in the mirror" in " ".join(told["warnings"])
    assert json.loads((out / "choice.json").read_text()).items() <= told.items()
    with Store.open(f"sqlite:///{out}/sweep.db", create=False) as store:
        found = store.records("defend")
        assert {r.trial.seed for r in found if r.trial.method} == {7}
        assert {r.trial.victim.dataset.params["flip"] for r in found} == {True}
        assert {r.provenance["device"] for r in found} == {"cpu"}


def test_flip_seed_and_device_are_taken_from_the_spec_unless_given(
    given: Path, tmp_path: Path
) -> None:
    def flips(sweep: Sweep) -> Any:
        return sweep.victims[0].dataset.params["flip"]

    assert (
        flips(of(given)) is False
        and flips(of(given, flip=True)) is True
        and flips(of(given, spec=None)) is True
    )
    assert of(given).seeds == (0,) and of(given, seed=4).seeds == (4,)
    assert of(given).compute.device == "cpu" and of(given, device="auto").compute.device == "auto"
    assert of(given, device="auto").compute.workers == 1  # the rest of [compute] stays
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(
        "flip = 'no'\n" + (given / "sweep.toml").read_text().replace("flip = false", "")
    )
    with pytest.raises(ValueError, match="flip must be true or false, got 'no'"):
        of(given, spec=wrong)


def test_the_example_is_a_sweep_for_defend(given: Path) -> None:
    sweep = of(given, spec=EXAMPLE)
    assert [d.name for d in sweep.defenses] == [d.name for d in of(given, spec=None).defenses]
    assert EXAMPLE.name in (EXAMPLE.parents[1] / "README.md").read_text()


def one_class(images: Path) -> None:
    (images / "a").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(images / "a" / "0.png")


def empty_class(images: Path) -> None:
    one_class(images)
    (images / "b").mkdir()


def unreadable(images: Path) -> None:
    for name in "abcdefghij":
        (images / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (16, 16)).save(images / name / f"{i}.png")
    (images / "j" / "5.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 50)


def other_number(images: Path) -> None:
    unreadable(images)
    for file in (images / "j").iterdir():
        file.unlink()
    (images / "j").rmdir()


@pytest.mark.parametrize(
    ("lay", "says"),
    [
        (one_class, "holds 1 class folder, at least 2 are needed"),
        (empty_class, "holds no images"),
        (unreadable, "cannot read the image"),
        (other_number, "does not fit the model"),
    ],
)
def test_unfit_images_are_one_line_and_leave_nothing(
    given: Path, tmp_path: Path, capsys: Capture, lay: Any, says: str
) -> None:
    lay(tmp_path / "images")
    assert called(*words(given, tmp_path / "out", trusted=tmp_path / "images")) == 2
    said = capsys.readouterr()
    assert says in said.err and said.err.count("\n") == 1 and said.out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["images"]


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--device", "tpu"], "device"),
        (["--seed", "-1"], "seeds"),
        (["--size", "0"], "size"),
    ],
)
def test_unfit_options_are_one_line_and_leave_nothing(
    given: Path, tmp_path: Path, capsys: Capture, extra: list[str], says: str
) -> None:
    assert called(*words(given, tmp_path / "out"), *extra) == 2
    said = capsys.readouterr()
    assert says in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not list(tmp_path.iterdir())


def test_an_out_that_is_a_file_is_one_line(given: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "out").write_text("mine")
    assert called(*words(given, tmp_path / "out")) == 2
    assert "is a file. Name a folder." in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"
