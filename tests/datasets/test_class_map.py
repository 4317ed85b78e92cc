"""Which output each class is: ImageNet's names, numbers, and the files that people have."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import write

from trials.datasets._class_map import outputs_of
from trials.datasets._imagenet_classes import SYNSETS, outputs_called
from trials.datasets.image_folder import load
from trials.spec import SpecError


def refused(names: list[str], says: str, classes: str, outputs: int = 0) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        outputs_of(names, "image_folder", classes, outputs)
    assert "\n" not in str(caught.value)


def file_of(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_imagenets_synsets_are_those_of_its_outputs() -> None:
    assert len(set(SYNSETS)) == 1000 and list(SYNSETS) == sorted(SYNSETS)
    known = {"n01440764": 0, "n02102040": 217, "n03028079": 497, "n03888257": 701, "n15075141": 999}
    assert {name: outputs_called(name) for name in known} == {k: (v,) for k, v in known.items()}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("tench", (0,)),
        ("gas_pump", (571,)),
        ("Golf-Ball", (574,)),
        ("Cardigan", (264,)),  # the dog; the garment is written small
        ("cardigan", (474,)),
        ("CARDIGAN", (264, 474)),
        ("0497", (497,)),
        ("1000", ()),
        ("n00000001", ()),
        ("roundabout", ()),
    ],
)
def test_a_class_of_imagenet_has_several_names(name: str, found: tuple[int, ...]) -> None:
    assert outputs_called(name) == found


def test_synsets_agree_with_timms() -> None:
    timm = pytest.importorskip("timm.data")
    assert timm.ImageNetInfo().label_names() == list(SYNSETS)


FILES = {
    "pairs.txt": "# by hand\ngolf ball 7\nkirche n03028079\n",
    "pairs.csv": "name,output\ngolf ball,7\nkirche,church\n",
    "pairs.tsv": "golf ball\t7\nkirche\t497\n",
    "pairs.json": '{"golf ball": 7, "kirche": "n03028079"}',
    "config.json": json.dumps({"id2label": {"7": "golf ball, ball", "497": "kirche"}, "x": 1}),
    "index.json": json.dumps({"7": ["n0", "golf ball"], "497": ["n1", "kirche"]}),
    "listed.json": json.dumps([*"abcdefg", "golf ball", *map(str, range(489)), "kirche"]),
    "listed.txt": "\n".join([*"abcdefg", "golf ball", *(f"x{i}" for i in range(489)), "kirche"]),
}


@pytest.mark.parametrize("name", FILES)
def test_reads_the_files_that_people_have(name: str, tmp_path: Path) -> None:
    classes = file_of(tmp_path, name, FILES[name])
    found, number = outputs_of(["golf_ball", "kirche"], "image_folder", classes)
    assert found == [7, 497] and number == 498


BAD = {
    "empty.txt": ("", "it has 0 names"),
    "mixed.txt": ("tench 0\nchurch\n", "'tench 0' has an output, and others have none"),
    "three.csv": ("a,1\nb,2,3\n", "'b 2 3' has not two columns"),
    "word.csv": ("a,1\nb,roundabout\n", "'roundabout', which is neither a number nor one class"),
    "minus.csv": ("a,-1\n", "'-1', which is neither a number"),
    "float.json": ('{"a": 1.5}', "'1.5', which is neither a number"),
    "true.json": ('{"a": true}', "'True', which is neither a number"),
    "text.json": ('"tench"', "it holds no names"),
    "names.json": ("[1, 2]", "'1' is no name"),
    "cut.json": ('{"a": 1', "Expecting"),
    "deep.json": ("[" * 100_000, "recursion"),
}


@pytest.mark.parametrize("name", BAD)
def test_another_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    text, says = BAD[name]
    refused(["a"], says, file_of(tmp_path, name, text))


def test_a_file_that_is_no_text_or_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\x00")
    refused(["a"], "cannot be used: 'utf-8'", str(tmp_path / "x"))
    with (tmp_path / "long").open("wb") as stream:
        stream.truncate(9 * 2**20)
    refused(["a"], "it has more than 8 MiB", str(tmp_path / "long"))
    refused(["a"], "which is no file. Accepted: imagenet, index", str(tmp_path))


def test_names_that_are_no_outputs_are_refused(tmp_path: Path) -> None:
    refused(["tench", "roundabout"], "'roundabout' is not a synset, number or name", "imagenet")
    refused(["CARDIGAN"], r"the name of several outputs \(264, 474\)", "imagenet")
    refused(["tench", "n01440764"], "'tench' and 'n01440764' are both output 0", "imagenet")
    refused(["church"], r"'church' is output 497, but the model has 10 \(0 to 9\)", "imagenet", 10)
    refused(["a"], "'a' is not the number of an output", "index")
    refused(["99999999999999999999"], "is not the number of an output", "index")
    other = file_of(tmp_path, "names.txt", "b 1\n")
    refused(["a"], "'a' is not in .*names.txt'. Every class needs an output", other)
    refused(["b"], "a model of 9,000,001 outputs", file_of(tmp_path, "l.txt", "b 9000000\n"))


@pytest.fixture
def synsets(tmp_path: Path) -> Path:
    for i, name in enumerate(("church", "golf_ball", "tench")):
        for k in range(2):
            write(tmp_path / "images" / name / f"{k}.png", (10 * i, k, 0))
    return tmp_path / "images"


def test_classes_are_in_the_order_of_their_outputs(synsets: Path) -> None:
    images = load("train", root=str(synsets), classes="imagenet")
    assert images.names == ("tench", "church", "golf_ball")
    assert images.outputs[:3] == (0, 497, 574) and images.outputs[3:5] == (1, 2)
    assert sorted(images.outputs) == list(range(1000)) and images.logits == 1000
    assert [int(images.x[images.y == k][0, 0, 0, 0]) for k in range(3)] == [20, 0, 10]
    assert images.classes == 3 and torch.equal(images.y.bincount(), torch.tensor([2, 2, 2]))


def test_a_map_onto_all_outputs_is_an_order_alone(synsets: Path, tmp_path: Path) -> None:
    names = file_of(tmp_path, "names.txt", "golf ball\ntench\nchurch\n")
    images = load("train", root=str(synsets), classes=names)
    assert images.names == ("golf_ball", "tench", "church") and images.outputs == ()
    assert images.y.tolist() == [2, 2, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"outputs": 1000}, "outputs is 1000, but classes does not say which"),
        ({"classes": "imagenet", "order": "text"}, "leave order = 'text' out"),
        ({"classes": "imagenet", "outputs": 574}, "'golf_ball' is output 574"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(
    synsets: Path, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        load("train", root=str(synsets), **settings)
    assert "\n" not in str(caught.value)
