"""GTSRB, Imagenette and ImageNet from strangers: whole layouts with one thing damaged, moved, added
or linked away.
"""

from collections.abc import Callable
from pathlib import Path

import layouts
import pytest
from fences import MARK, escapes, fenced
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st
from strange_weights import mutated

pytestmark = pytest.mark.fuzz

KIND = "torchvision's layouts"
SETS = ("imagenet", "imagenette", "gtsrb")
WHOLE = {name: layouts.whole(name) for name in SETS}
SPLITS = st.sampled_from(["train", "test"])
NAMES = [
    "x.png",
    "<b>.ppm",
    "\x1b[2J.jpg",
    "\n.JPEG",
    "é" * 60 + ".ppm",
    "=1+1.png",
    "notes.txt",
    ".hidden.png",
]


@pytest.mark.parametrize("name", SETS)
def test_a_whole_layout_is_read(name: str) -> None:
    for split in ("train", "test"):
        with fenced() as here:
            layouts.write(here, WHOLE[name])
            assert layouts.loaded(KIND, name, split, here) == "accepted"


@tries(25)
@given(st.data(), st.sampled_from(SETS), SPLITS)
def test_a_layout_with_a_damaged_file_is_read_or_one_line(
    data: st.DataObject, name: str, split: str
) -> None:
    files = dict(WHOLE[name])
    which = data.draw(st.sampled_from(sorted(files)[:4] + sorted(files)[-4:]))
    with fenced() as here:
        layouts.write(
            here, {**files, which: data.draw(mutated(files[which]) | st.binary(max_size=40))}
        )
        layouts.loaded(KIND, name, split, here)


@tries(15)
@given(st.data(), st.sampled_from(SETS), SPLITS)
def test_a_layout_with_a_file_or_folder_too_many_or_too_few_is_read_or_one_line(
    data: st.DataObject, name: str, split: str
) -> None:
    files = dict(WHOLE[name])
    which = data.draw(st.sampled_from(sorted(files)))
    if data.draw(st.booleans()):
        content = files.pop(which)
    else:
        content = data.draw(st.sampled_from([files[which], b"", b"%!PS-Adobe-3.0 EPSF-3.0\n"]))
    parts = which.split("/")
    depth = data.draw(st.integers(0, len(parts) - 1))
    extra = data.draw(
        st.sampled_from([*NAMES, *(f"{n}/{parts[-1]}" for n in ("n00000000", "<b>", "00043"))])
    )
    with fenced() as here:
        layouts.write(here, {**files, "/".join([*parts[:depth], extra]): content})
        layouts.loaded(KIND, name, split, here)


ROW = st.text(alphabet=";\"'\r\n0123456789.pmx\0\ufeff", max_size=40) | st.sampled_from(
    escapes()
).map(lambda p: f"{p};" * 7 + "1")


@tries(30)
@given(st.lists(ROW, max_size=4), st.integers(0, 4))
@example(["00000.ppm;4;4;0;0;3;3;43"], 4)
@example(["00000.ppm;4;4;0;0;3;3;" + "9" * 5000], 4)
@example(["../../../../etc/passwd;4;4;0;0;3;3;1"], 4)
@example(['"' + "x" * 200_000], 4)
def test_a_table_of_labels_with_odd_rows_is_read_or_one_line(rows: list[str], kept: int) -> None:
    lines = WHOLE["gtsrb"][layouts.TABLE].decode().splitlines()
    with fenced() as here:
        table = "\r\n".join([*lines[: kept + 1], *rows]).encode("utf-8", "surrogatepass")
        layouts.write(here, {**WHOLE["gtsrb"], layouts.TABLE: table})
        layouts.loaded(KIND, "gtsrb", "test", here)


LINKS: dict[str, Callable[[Path], Path]] = {
    "out": lambda _: Path("/etc/passwd"),
    "to a device": lambda _: Path("/dev/zero"),
    "to itself": lambda link: link,
    "to the root": lambda _: Path("/"),
    "by its parents": lambda _: Path("../" * 12 + "etc"),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("link", LINKS)
def test_a_link_out_of_a_layout_is_refused(name: str, link: str) -> None:
    for split in ("train", "test"):
        with fenced() as here:
            layouts.write(here, WHOLE[name])
            part = {"train": ("train/", "Training/"), "test": ("val/", "Final_Test/")}[split]
            file = next(f for f in WHOLE[name] if any(p in f for p in part))
            odd = (here / file).with_name(f"{MARK}.ppm")
            odd.symlink_to(LINKS[link](odd))
            assert layouts.loaded(KIND, name, split, here) == "refused"
