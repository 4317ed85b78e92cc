"""Tables of images: CSV, TSV and Parquet, and what is refused."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import write, write_parquet

from trials import catalog
from trials.datasets.image_table import load
from trials.spec import MethodConfig, SpecError

RNG = np.random.default_rng(0)


def refused(root: Path, says: str, split: str = "train", **settings: Any) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        load(split, root=str(root), **settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Ten images of each of the classes 2 and 10, in no order of classes."""
    rows = ["path,label"]
    for i in range(10):
        for name in ("10", "2"):
            write(tmp_path / "pictures" / f"{name}_{i}.png", (10 * i, int(name), 0))
            rows.append(f"pictures/{name}_{i}.png,{name}")
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(rows))
    return file


def test_reads_path_and_label(table: Path) -> None:
    images = load("train", root=str(table), size=16, pad=2, flip=False)
    assert images.x.shape == (20, 3, 16, 16) and (images.pad, images.flip) == (2, False)
    assert images.names == ("2", "10") and images.y.tolist() == [1, 0] * 10
    assert images.x[:4, :, 0, 0].tolist() == [[0, 10, 0], [0, 2, 0], [10, 10, 0], [10, 2, 0]]
    assert load("train", root=str(table), order="text").names == ("10", "2")


@pytest.mark.parametrize(
    ("name", "head", "between"),
    [
        ("t.csv", "Filename;ClassId", ";"),
        ("t.tsv", "label_of\timage\tlabel", "\t"),
        ("t.CSV", "\ufefffile,class", ","),
        ("t.csv", None, ","),
    ],
)
def test_reads_the_tables_that_people_have(
    table: Path, name: str, head: str | None, between: str
) -> None:
    lines = [] if head is None else [head]
    extra = "x\t" if name == "t.tsv" else ""
    for row in table.read_text().splitlines()[1:]:
        lines.append(extra + between.join(f'"{cell}"' for cell in row.split(",")))
    file = table.parent / name
    file.write_text("\r\n".join([*lines, ""]), encoding="utf-8")
    assert load("train", root=str(file)).y.tolist() == [1, 0] * 10


def test_keeps_a_share_of_each_class_for_the_test(table: Path) -> None:
    train, test = (load(s, root=str(table), test_share=0.3) for s in ("train", "test"))
    assert train.y.bincount().tolist() == [7, 7] and test.y.bincount().tolist() == [3, 3]
    refused(table, "has no test images", split="test")


def test_another_table_may_hold_the_test_images(table: Path) -> None:
    other = table.parent / "test.csv"
    other.write_text("path,label\npictures/2_3.png,2\n")
    test = load("test", root=str(table), test=str(other))
    assert test.y.tolist() == [0] and test.names == ("2", "10") and test.x[0, 0, 0, 0] == 30
    refused(table, "leave test_share at 0", test=str(other), test_share=0.2)
    other.write_text("path,label\npictures/2_3.png,7\n")
    refused(table, "'7' is not one of the 2 classes", split="test", test=str(other))


def test_the_images_are_part_of_the_id(table: Path) -> None:
    def digest(file: Path) -> str:
        os.utime(file)  # what a process has digested is known to it by its time
        return catalog.resolve("datasets", MethodConfig("image_table", {"root": str(file)})).files[
            "root"
        ]

    before = digest(table)
    assert digest(table) == before
    write(table.parent / "other.png")  # which the table does not name
    assert digest(table) == before
    write(table.parent / "pictures" / "2_0.png", (1, 2, 3))
    assert digest(table) != before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("path,label\n", "has 0 classes"),
        ("path,label\npictures/2_0.png,2\n", "has 1 classes"),
        ("name,weight\n1,2\n", "lies|not there|columns"),
        ("a,b,c\n1,2,3\n", "columns 'a', 'b', 'c'; needed are path and label"),
        ("path,label\npictures/2_0.png\n", "row 2 has no path or no label"),
        ("path,label\n../secret.png,2\n", "lies outside its folder"),
        ("path,label\n/etc/passwd,2\n", "lies outside its folder"),
        (
            "path,label\npictures/none.png,2\npictures/2_0.png,3\n",
            "names 1 files that are not there",
        ),
        ("path,label\npictures/bad.png,2\npictures/2_0.png,3\n", "cannot read the image"),
        ("path,label\na\0b,2\n", "no path|as a table|not there"),
        (b"path,label\n\xff\xfe,2\n", "Write it in UTF-8"),
        ('path,label\n"' + "x" * 200_000 + '",2\n', "as a table"),
    ],
)
def test_refuses_in_one_line(table: Path, content: str | bytes, says: str) -> None:
    (table.parent / "pictures" / "bad.png").write_bytes(b"no image")
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(table, says)


def test_refuses_a_link_out_of_the_folder(table: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "out.png").symlink_to("/etc/passwd")
    table.write_text("path,label\npictures/out.png,2\npictures/2_0.png,3\n")
    refused(table, "lies outside its folder")


X = RNG.integers(0, 256, (8, 3, 12, 12), dtype=np.uint8)


def head(names: Any, label: str = "label") -> dict[bytes, bytes]:
    """The schema's metadata that Hugging Face's datasets write."""
    feature = {"names": names, "_type": "ClassLabel"}
    return {b"huggingface": json.dumps({"info": {"features": {label: feature}}}).encode()}


@pytest.mark.parametrize("column", ["img", "image"])
@pytest.mark.parametrize("names", [["frog", "cat"], {"0": "frog", "1": "cat"}])
def test_names_of_parquet_are_the_schemas(tmp_path: Path, column: str, names: Any) -> None:
    file = tmp_path / "some.parquet"
    write_parquet(file, X, [0, 1] * 4, column, metadata=head(names))
    images = load("train", root=str(file), size=12)
    assert images.names == ("frog", "cat") and images.y.tolist() == [0, 1] * 4
    assert np.array_equal(images.x.numpy(), X)
    turned = load("train", root=str(file), size=12, order="text")
    assert turned.names == ("cat", "frog") and turned.y.tolist() == [1, 0] * 4


def test_labels_of_parquet_may_be_words_or_numbers_without_names(tmp_path: Path) -> None:
    write_parquet(tmp_path / "w.parquet", X, ["b", "a"] * 4, label="labels")
    words = load("train", root=str(tmp_path / "w.parquet"))
    assert words.names == ("a", "b") and words.y.tolist() == [1, 0] * 4
    write_parquet(tmp_path / "n.parquet", X, [11, 2] * 4)
    assert load("train", root=str(tmp_path / "n.parquet")).names == ("2", "11")
    write_parquet(tmp_path / "odd.parquet", X, [11, 2] * 4, metadata={b"huggingface": b"{["})
    assert load("train", root=str(tmp_path / "odd.parquet")).names == ("2", "11")


def test_a_folder_of_hugging_faces_layout_has_splits(tmp_path: Path) -> None:
    for name, part in (("train-00000-of-00002", X[:4]), ("train-00001-of-00002", X[4:])):
        write_parquet(tmp_path / "data" / f"{name}.parquet", part, [0, 1] * 2)
    write_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", X[:2], [1, 0])
    assert np.array_equal(load("train", root=str(tmp_path), size=12).x.numpy(), X)
    test = load("test", root=str(tmp_path), size=12)
    assert test.y.tolist() == [1, 0] and np.array_equal(test.x.numpy(), X[:2])


def test_a_share_of_parquet_rows_is_kept_for_the_test(tmp_path: Path) -> None:
    file = tmp_path / "some.parquet"
    write_parquet(file, X, [0, 1] * 4)
    train, test = (load(s, root=str(file), test_share=0.25) for s in ("train", "test"))
    assert train.y.bincount().tolist() == [3, 3] and test.y.bincount().tolist() == [1, 1]


@pytest.mark.parametrize(
    ("labels", "metadata", "says"),
    [
        ([0, -1] * 4, None, "has the label '-1' in row 1"),
        ([0, None] * 4, None, "has the label 'None' in row 1"),
        ([0.5, 1.0] * 4, None, "has the label '0.5' in row 0"),
        ([0, 2] * 4, head(["a", "b"]), "has the label '2' in row 1"),
        ([0, 1] * 4, head(["a", "a"]), "each once"),
        ([0] * 8, None, "has 1 classes"),
    ],
)
def test_refuses_labels_of_parquet_that_are_none(
    tmp_path: Path, labels: list[Any], metadata: Any, says: str
) -> None:
    write_parquet(tmp_path / "some.parquet", X, labels, metadata=metadata)
    refused(tmp_path / "some.parquet", says)


def test_refuses_what_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    refused(tmp_path / "bad.parquet", "as Parquet")
    (tmp_path / "notes.txt").touch()
    refused(tmp_path / "notes.txt", "neither a file that ends in .csv, .tsv, .parquet")
    refused(tmp_path / "none.csv", "neither a file")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "holds neither shards")
    write_parquet(tmp_path / "c.parquet", X, [0, 1] * 4, column="picture")
    refused(tmp_path / "c.parquet", "columns picture, label; needed: img")
