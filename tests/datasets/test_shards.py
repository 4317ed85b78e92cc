"""WebDataset's tar shards: what is read, and what is refused in one line."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pictures import png

from trials.datasets.image_table import load, surveyed
from trials.spec import SpecError

RED = np.full((3, 8, 8), 200, np.uint8)
DARK = np.full((3, 8, 8), 10, np.uint8)
PNG = png(RED)


def shard(file: Path, members: list[tuple[str, bytes]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as out:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return file


def samples(first: int, number: int = 6) -> list[tuple[str, bytes]]:
    """Images of the classes 2 and 10 in turn, an entry of JSON beside each."""
    found = []
    for i in range(first, first + number):
        key = f"./{i:04}.part"  # a key ends at the first dot
        label = b"10\n" if i % 2 else b"2"
        found += [(f"{key}.PNG".replace(".part", ""), png(DARK if i % 2 else RED))]
        found += [(f"./{i:04}.cls", label), (f"./{i:04}.json", b"{}")]
    return found


def refused(root: Path, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        load("train", root=str(root))
    assert "\n" not in str(caught.value)


def test_reads_a_shard(tmp_path: Path) -> None:
    images = load("train", root=str(shard(tmp_path / "0.tar", samples(0))), size=8)
    assert images.names == ("2", "10") and images.y.tolist() == [0, 1, 0, 1, 0, 1]
    assert images.x.shape == (6, 3, 8, 8) and images.x[:2, 0, 0, 0].tolist() == [200, 10]
    assert [p.name for p in tmp_path.iterdir()] == ["0.tar"]
    seen = surveyed({"root": str(tmp_path / "0.tar"), "size": 8, "order": "numbers"})
    assert seen.skipped == {"in a shard, but neither image nor label": 6}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("set-train-0.tar set-train-1.tar", "set-val-0.tar"),
        ("train/0.tar train/1.tar", "test/0.tar"),
        ("0.tar 1.tar", ""),
    ],
)
def test_reads_a_folder_of_shards(train: str, test: str, tmp_path: Path) -> None:
    for i, name in enumerate(train.split()):
        shard(tmp_path / "s" / name, samples(6 * i))
    for name in test.split():
        shard(tmp_path / "s" / name, samples(0, 2))
    images = load("train", root=str(tmp_path / "s"), size=8)
    assert len(images) == 12 and images.y.bincount().tolist() == [6, 6]
    if test:
        assert load("test", root=str(tmp_path / "s"), size=8).y.tolist() == [0, 1]
    share = 0.0 if test else 0.34
    held = load("test", root=str(tmp_path / "s"), size=8, test_share=share)
    assert sorted(set(held.y.tolist())) == [0, 1]


def test_labels_may_be_names_and_go_with_a_map(tmp_path: Path) -> None:
    members = [("a.jpg", PNG), ("a.cls", b"church"), ("b.jpg", PNG), ("b.cls.txt", b"tench")]
    images = load("train", root=str(shard(tmp_path / "x.tar", members)), classes="imagenet")
    assert images.names == ("tench", "church") and images.y.tolist() == [1, 0]
    assert images.outputs[:2] == (0, 497)


def test_names_in_a_shard_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "outside.cls").write_text("1")
    members = [("../a.png", PNG), ("../a.cls", b"1"), ("/etc/b.png", PNG), ("/etc/b.cls", b"0")]
    images = load("train", root=str(shard(tmp_path / "in" / "x.tar", members)), size=8)
    assert images.y.tolist() == [1, 0] and not (tmp_path / "a.png").exists()


BAD: dict[str, tuple[list[tuple[str, bytes]], str]] = {
    "no label": ([("a.png", PNG)], r"'a' has no label \(.cls\)"),
    "no image": ([("a.cls", b"1")], "'a' has no image"),
    "two images": ([("a.png", PNG), ("a.jpg", PNG), ("a.cls", b"1")], "'a' has two images"),
    "two labels": ([("a.png", PNG), ("a.cls", b"1"), ("a.cls", b"2")], "'a' has two labels"),
    "label of bytes": ([("a.png", PNG), ("a.cls", b"\xff")], "cannot read the shard"),
    "label of lines": ([("a.png", PNG), ("a.cls", b"1\n2")], "'a.cls' is no class"),
    "empty label": ([("a.png", PNG), ("a.cls", b"")], "'a.cls' is no class"),
    "long label": ([("a.png", PNG), ("a.cls", b"1" * 5000)], "'a.cls' is no class"),
    "nothing": ([], "it is empty"),
    "one class": ([("a.png", PNG), ("a.cls", b"1")], "has 1 classes of different names"),
    "no picture": (
        [("a.png", b"x"), ("a.cls", b"1"), ("b.png", PNG), ("b.cls", b"2")],
        "cannot read the image 'x.tar/a'",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_shard_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    members, says = BAD[what]
    refused(shard(tmp_path / "x.tar", members), says)


def test_what_is_no_whole_tar_is_refused(tmp_path: Path) -> None:
    whole = shard(tmp_path / "x.tar", [("a.cls", b"1"), ("a.png", PNG * 50)]).read_bytes()
    for content in (b"", b"no tar", whole[:1800], b"\x1f\x8b" + whole):
        (tmp_path / "y.tar").write_bytes(content)
        refused(tmp_path / "y.tar", "cannot read the shard .*Needed is an uncompressed tar file")
    with tarfile.open(tmp_path / "z.tar", "w:gz") as out:
        out.addfile(tarfile.TarInfo("a.cls"))
    refused(tmp_path / "z.tar", "cannot read the shard")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.cls")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "x.tar", "w") as out:
        out.addfile(member)
    refused(tmp_path / "x.tar", "'a.cls' is a link, a device or a sparse file")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_negative_size_is_refused(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.cls")
    member.type = kind
    head = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    head[124:136] = b"\xff" * 10 + (-512).to_bytes(2, "big", signed=True)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % (sum(head) % 8**6)
    (tmp_path / "x.tar").write_bytes(bytes(head) * 3 + bytes(1024))
    refused(tmp_path / "x.tar", "cannot read the shard")
