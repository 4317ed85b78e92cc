"""German traffic signs: 43 numbered classes, a table of test labels, and what is refused."""

from pathlib import Path

import pytest
from pictures import write

from trials.datasets.gtsrb import load
from trials.spec import SpecError

HEAD = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
TEST = [16, 1, 42, 0]  # classes of the test images


def training(folder: Path, number: int = 2) -> None:
    for label in range(43):
        for i in range(number):
            write(
                folder / f"{label:05d}" / f"00000_{i:05d}.ppm", (5 * label, 60 * i, 0), (50 - i, 40)
            )
        (folder / f"{label:05d}" / f"GT-{label:05d}.csv").write_text(HEAD + "\n")


def table(*rows: tuple[str, object]) -> str:
    return (
        "\r\n".join([HEAD, *(f"{name};53;54;6;5;48;49;{label}" for name, label in rows)]) + "\r\n"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """torchvision's layout, ``gtsrb`` in ``root``."""
    base = tmp_path / "gtsrb"
    training(base / "GTSRB" / "Training")
    for i, label in enumerate(TEST):
        write(base / "GTSRB" / "Final_Test" / "Images" / f"{i:05d}.ppm", (5 * label, 200, 0))
    (base / "GT-final_test.csv").write_text(
        table(*((f"{i:05d}.ppm", c) for i, c in enumerate(TEST)))
    )
    return tmp_path


def refused(root: Path, says: str, split: str = "train") -> None:
    with pytest.raises(SpecError, match=says) as caught:
        load(split, root=str(root))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_reads_43_classes_that_are_never_mirrored(root: Path) -> None:
    train = load("train", root=str(root))
    assert train.x.shape == (86, 3, 32, 32) and train.classes == 43 and len(set(train.names)) == 43
    assert train.y.tolist() == [i // 2 for i in range(86)]
    assert train.x[:, 0, 16, 16].tolist() == [5 * (i // 2) for i in range(86)]
    assert (train.pad, train.flip) == (4, False)
    assert (train.names[14], train.names[33], train.names[38]) == (
        "stop",
        "turn right ahead",
        "keep right",
    )


def test_test_labels_come_from_the_table_and_not_from_the_order_of_files(root: Path) -> None:
    test = load("test", root=str(root), size=16)
    assert test.y.tolist() == TEST and test.x[:, 0, 8, 8].tolist() == [5 * c for c in TEST]
    rows = [("00002.ppm", 42), ("00000.ppm", 16)]
    (root / "gtsrb" / "GT-final_test.csv").write_text("\ufeff" + table(*rows), encoding="utf-8")
    turned = load("test", root=str(root), size=16)
    assert turned.y.tolist() == [42, 16] and turned.x[:, 0, 8, 8].tolist() == [210, 80]


def test_root_may_be_the_folder_that_holds_gtsrb_and_the_table_may_lie_in_it(root: Path) -> None:
    base = root / "gtsrb"
    (base / "GT-final_test.csv").rename(base / "GTSRB" / "GT-final_test.csv")
    assert (
        load("test", root=str(base)).y.tolist() == TEST and len(load("train", root=str(base))) == 86
    )


def test_reads_the_official_training_archive(root: Path) -> None:
    (root / "gtsrb" / "GTSRB" / "Training").rename(root / "gtsrb" / "GTSRB" / "gone")
    training(root / "gtsrb" / "GTSRB" / "Final_Training" / "Images", 3)
    assert len(load("train", root=str(root))) == 3 * 43


def test_refuses_a_missing_folder(root: Path, tmp_path: Path) -> None:
    refused(tmp_path / "none", "not a folder")
    refused(root / "gtsrb" / "GTSRB", "holds no folder GTSRB")
    (root / "gtsrb" / "GTSRB" / "Final_Test").rename(root / "kept")
    refused(root, "no folder GTSRB/Final_Test/Images", split="test")
    (root / "gtsrb" / "GTSRB" / "Training").rename(root / "kept2")
    refused(root, "neither Training nor Final_Training/Images")


def test_refuses_another_number_of_classes(root: Path) -> None:
    top = root / "gtsrb" / "GTSRB" / "Training"
    write(top / "00043" / "0.ppm")
    refused(root, "holds 44 class folders, and '00043' is none of them")
    (top / "00043").rename(root / "43")
    (top / "00007").rename(root / "7")
    refused(root, "holds 42 class folders, and '00007' is missing")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (table(("00000.ppm", 16), ("00001.ppm", 43)), "line 3 has the ClassId '43'"),
        (table(("00000.ppm", -1)), "ClassId '-1'"),
        (table(("00000.ppm", "sixteen")), "ClassId 'sixteen'"),
        (table(("00000.ppm", "9" * 5000)), "line 2 has the ClassId '9999"),
        (table(("00009.ppm", 1)), "line 2 names '00009.ppm', which is not in"),
        (table(("../../Training/00000/00000_00000.ppm", 1)), "line 2 names .*which is not in"),
        (HEAD + "\n00000.ppm;53\n", "ClassId ''"),
        (table(), "holds no rows"),
        ("Filename,ClassId\n00000.ppm,16\n", "no table with the columns Filename and ClassId"),
        (b"\xff\xfe\x00", "no table with the columns Filename and ClassId"),
        ("", "holds no rows"),
    ],
)
def test_refuses_a_table_that_does_not_label_the_images(
    root: Path, content: str | bytes, says: str
) -> None:
    file = root / "gtsrb" / "GT-final_test.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(root, says, split="test")


def test_refuses_a_missing_table_and_a_damaged_image(root: Path) -> None:
    (root / "gtsrb" / "GT-final_test.csv").unlink()
    refused(root, "has no GT-final_test.csv", split="test")
    file = root / "gtsrb" / "GTSRB" / "Training" / "00012" / "00000_00001.ppm"
    file.write_bytes(file.read_bytes()[:500])
    refused(root, r"00012/00000_00001\.ppm.*Replace or remove it")
