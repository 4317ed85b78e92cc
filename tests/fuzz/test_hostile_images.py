"""Folders of images from strangers: damaged files, bombs, odd modes, other formats in disguise,
names and links.
"""

import io
import os
import pickle
import resource
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fences import MARK, fenced
from fuzzing import command, process, tries
from hypothesis import example, given
from hypothesis import strategies as st
from layouts import loaded
from PIL import Image
from safetensors.torch import save
from scipy.io import savemat
from strange_weights import mutated, state

from trials import catalog
from trials.spec import SpecError

pytestmark = pytest.mark.fuzz

WEIGHTS = save(state())
PAST = "of the trusted images right"  # what `defend` says of this model once it has read the images


def encoded(form: str, mode: str = "RGB", side: int = 8, **how: Any) -> bytes:
    rng, out = np.random.default_rng(0), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).convert(mode).save(
        out, form, **how
    )
    return out.getvalue()


FORMS = {form: encoded(form) for form in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM")}
FORMS |= {
    "JPEG, progressive": encoded("JPEG", progressive=True),
    "PNG, palette": encoded("PNG", "P"),
}
FORMS |= {
    f"TIFF, {c}": encoded("TIFF", compression=c)
    for c in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
}
ENDINGS = (".png", ".jpg", ".tif", ".webp", ".bmp", ".ppm")


def folder(root: Path, odd: dict[str, bytes] | None = None) -> Path:
    """Two classes of six images, and in one of them the odd files."""
    for label in range(2):
        (root / f"class{label}").mkdir(parents=True)
        for i in range(6):
            (root / f"class{label}" / f"{i}.bmp").write_bytes(encoded("BMP", side=4 + i))
    for name, content in (odd or {}).items():
        (root / "class1" / name).write_bytes(content)
    return root


def defended(
    kind: str, images: Path, here: Path, run: Callable[..., tuple[str, str, str]] = command
) -> tuple[str, str]:
    """The command line's verdict of the images, and its line; the model is wrong for them in any
    case.
    """
    (here / "w.safetensors").write_bytes(WEIGHTS)
    words = [
        "--model",
        here / "w.safetensors",
        "--arch",
        "resnet18:width=1",
        "--trusted",
        images,
        "--out",
        here / "out",
    ]
    verdict, _, said = run(
        kind, "defend", *words, "--size", 8, **({"past": PAST} if run is command else {})
    )
    assert not {p.name for p in here.iterdir()} - {"w.safetensors", "out", images.name}
    return verdict, said


def seen(kind: str, content: bytes, name: str = "odd.png") -> str:
    with fenced() as here:
        return defended(kind, folder(here / "images", {name: content}), here)[0]


@tries(150)
@given(
    st.sampled_from(sorted(FORMS)).flatmap(lambda f: mutated(FORMS[f])), st.sampled_from(ENDINGS)
)
@example(b"", ".png")
def test_a_damaged_image_is_read_or_one_line(content: bytes, ending: str) -> None:
    seen("images, damaged", content, f"odd{ending}")


MODES = [("PNG", m) for m in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
MODES += [("TIFF", m) for m in ("1", "L", "P", "CMYK", "YCbCr", "LAB", "I;16", "I", "F", "RGBA")]
MODES += [("JPEG", m) for m in ("L", "CMYK", "YCbCr")]


@pytest.mark.parametrize(("form", "mode"), MODES, ids="-".join)
def test_every_mode_is_read_or_one_line(form: str, mode: str) -> None:
    verdict = seen("images, odd modes", encoded(form, mode))
    assert verdict == "accepted" or mode in ("I", "F")


def test_the_first_of_several_frames_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), (i, i, i)) for i in range(50)]
    for form in ("TIFF", "WEBP", "PNG"):
        out = io.BytesIO()
        frames[0].save(out, form, save_all=True, append_images=frames[1:])
        assert seen("images, odd modes", out.getvalue()) == "accepted"


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(
    width: int, height: int, depth: int = 8, colour: int = 6, data: bytes = b"", extra: bytes = b""
) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + extra
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def tiff(width: int, height: int) -> bytes:
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, 100),
    ]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + b"\0\0\0\0" + b"x" * 100


BOMBS: dict[str, Callable[[], bytes]] = {  # made when they are wanted
    "50,000 x 50,000": lambda: png(50_000, 50_000, 1, 0, zlib.compress(b"\0" * 10**6)),
    "2^31 x 2^31": lambda: png(2**31 - 1, 2**31 - 1),
    "1 x 2^31": lambda: png(1, 2**31 - 1),
    "no side": lambda: png(0, 0),
    "a strip": lambda: png(1, 89_000_000, 1, 0, zlib.compress(b"\0" * 10**6)),
    "a long strip": lambda: png(1, 2**20, 1, 0, zlib.compress(b"\0\0" * 2**20)),
    "text of a GiB": lambda: png(
        8, 8, extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 2**27))
    ),
    "colours of a GiB": lambda: png(
        8, 8, extra=chunk(b"iCCP", b"a\0\0" + zlib.compress(b"x" * 2**27))
    ),
    "TIFF of 2^60 pixels": lambda: tiff(2**30, 2**30),
    "PPM of 10^20 pixels": lambda: b"P6 10000000000 10000000000 255\n" + b"x" * 100,
    "PPM of a number without end": lambda: b"P6 " + b"9" * 10**6,
    "JPEG of 65,535 x 65,535": lambda: FORMS["JPEG"].replace(
        struct.pack(">HH", 8, 8), b"\xff\xff\xff\xff", 1
    ),
    "GIF": lambda: encoded("GIF", "P"),
    "ICO": lambda: encoded("ICO", side=16),
    "PDF": lambda: b"%PDF-1.4\n",
    "SVG": lambda: b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "EPS": lambda: (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(ran) (w) "
        b"file\nshowpage\n"
    ),
    "FITS": lambda: (
        b"SIMPLE  =                    T".ljust(80)
        + b"NAXIS   =                    2".ljust(80)
        + b" " * 2720
    ),
    "zeros": lambda: b"\0" * 10**6,
    "HTML": lambda: b"<html><script>alert(1)</script>",
}


# what unpacks is left out or has its limit
MODEST = ("a long strip", "text of a GiB", "colours of a GiB")


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_or_another_format_is_refused(bomb: str) -> None:
    assert seen("images, bombs and other formats", BOMBS[bomb]()) == "refused" or bomb in MODEST


def test_the_largest_image_that_is_taken_leaves_a_real_process_within_its_limits(
    tmp_path: Path,
) -> None:
    packed = zlib.compressobj(1)
    data = b"".join(packed.compress(b"\0" * (9400 * 4 + 1)) for _ in range(9400)) + packed.flush()
    images = folder(
        tmp_path / "images",
        {"odd.png": png(9400, 9400, data=data), "bomb.png": BOMBS["50,000 x 50,000"]()},
    )
    verdict, said = defended("images, real processes", images, tmp_path, process)
    assert verdict == "refused"
    assert "bomb.png" in said


NAMES = (
    "a\nb",
    "</script><img src=x onerror=alert(1)>",
    "\x1b[2J\x1b]0;x\x07",
    "{{7*7}}",
    "é" * 100,
    "x" * 250,
    "\u202e",
    "-rf",
    "=1+1",
    "%s%n",
    "'; drop table trials; --",
    os.fsdecode(b"\xff\xfe"),
    "\x7f",
    "CON",
    " ",
)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_of_a_class_or_a_file_is_only_a_name(name: str) -> None:
    name = name.replace("/", "\u2215")
    with fenced() as here:
        images = folder(here / "images")
        (images / "class0").rename(images / name)
        (images / name / f"{name[:200]}.png").write_bytes(FORMS["PNG"])
        verdict, _ = defended("images, names", images, here)
        assert verdict == "accepted"
    with fenced() as here:
        images = folder(here / "images")
        (images / name).mkdir()  # empty, so that it is named
        assert defended("images, names", images, here)[0] == "refused"
    with fenced() as here:
        images = folder(here / name)
        defended("images, names", images, here)


def _pipe(images: Path) -> None:
    os.mkfifo(images / "class1" / "pipe.png")


def _folder_like_image(images: Path) -> None:
    (images / "class1" / "folder.png").mkdir()


def _deep(images: Path) -> None:
    os.chdir(images / "class1")
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    os.chdir(images.parent)


def _linked(target: str, name: str = "odd.png") -> Callable[[Path], None]:
    return lambda images: (images / "class1" / name).symlink_to(target)


def _many(images: Path) -> None:
    for i in range(3000):
        (images / f"x{i}").mkdir()


def _sparse(images: Path) -> None:
    with (images / "class1" / "odd.png").open("wb") as stream:
        stream.truncate(2**42)


LAYOUTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pipe": (_pipe, "accepted"),
    "a folder with an image's ending": (_folder_like_image, "accepted"),
    "deep folders": (_deep, "refused"),
    "link to itself": (_linked("odd.png"), "refused"),
    "link to the class": (_linked("../class1", "loop"), "accepted"),
    "link to the root": (_linked("/", "root"), "refused"),
    "link out": (_linked("/etc/passwd"), "refused"),
    "link to a device": (_linked("/dev/zero"), "refused"),
    "link out by its parents": (_linked("../../../../../etc/passwd"), "refused"),
    "link to nothing": (_linked("nothing.png"), "accepted"),
    "link to another class": (_linked("../class0/0.bmp", "odd.bmp"), "accepted"),
    "3,000 empty classes": (_many, "refused"),
    "4 TiB of nothing": (_sparse, "refused"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_lies_in_a_folder_of_images_is_read_or_one_line(layout: str) -> None:
    make, expected = LAYOUTS[layout]
    with fenced() as here:
        images = folder(here / "images")
        make(images)
        assert defended("images, layouts", images, here)[0] == expected
        # Python's own goes no deeper than its stack
        subprocess.run(["rm", "-rf", str(images)], check=True)


def test_what_is_no_folder_is_no_folder_of_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for path in [
        *tmp_path.iterdir(),
        Path("/dev/zero"),
        Path("/dev/null"),
        tmp_path / ("x" * 4000),
        Path("~nobody-of-that-name"),
    ]:
        with fenced() as here:
            assert defended("images, layouts", path, here)[0] == "refused"


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch ran-{MARK} /var/tmp/ran-{MARK} ~/ran-{MARK}",)


def test_a_pickle_that_is_not_the_published_one_is_never_opened() -> None:
    for content in (
        pickle.dumps(Code()),
        pickle.dumps({"labels": [1], "data": Code()}, 2),
        b"",
        b"\x80\x02}.",
    ):
        with fenced() as here:
            for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
                (here / name).write_bytes(content)
            assert loaded("cifar10 files", "cifar10", "train", here) == "refused"
            assert not list(here.glob("ran*"))


def table(img: Any, label: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"img": img, "label": label}), out)
    return out.getvalue()


PIXELS = encoded("PNG", side=32)
PARQUET = table([{"bytes": PIXELS, "path": "x"}] * 10, list(range(10)))
TABLES = {
    "paths for pixels": table(["/etc/passwd", "/dev/zero"], [0, 1]),
    "numbers for pixels": table([0, 1], [0, 1]),
    "no pixels": table([None, None], pa.array([0, 1])),
    "structs without bytes": table([{"path": "/dev/zero"}] * 2, [0, 1]),
    "lists for pixels": table([[1, 2], [3]], [0, 1]),
    "words for labels": table([PIXELS] * 2, ["a", "b"]),
    "missing labels": table([PIXELS] * 2, [None, 1]),
    "structs for labels": table([PIXELS] * 2, [{"a": 1}, {"a": 2}]),
    "fractions for labels": table([PIXELS] * 2, [0.5, float("nan")]),
    "labels out of range": table([PIXELS] * 2, [2**62, -1]),
    "no rows": table(pa.array([], pa.binary()), pa.array([], pa.int64())),
    "two million rows": table(pa.array([b""] * 2_000_000), pa.array([0] * 2_000_000)),
    "EPS": table([BOMBS["EPS"]()] * 2, [0, 1]),
    "a bomb": table([BOMBS["50,000 x 50,000"]()] * 2, [0, 1]),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_table_that_is_not_of_pictures_is_refused(what: str) -> None:
    with fenced() as here:
        (here / "train.parquet").write_bytes(TABLES[what])
        assert loaded("cifar10 files", "cifar10", "train", here) == "refused"


def test_a_table_that_takes_all_memory_is_not_called_damaged() -> None:
    """Two kilobytes that unfold to 20 pictures of 48 MiB."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with fenced() as here:
        picture = pa.array([bytes(48 * 2**20)], pa.binary())
        # written as one
        pictures = pa.DictionaryArray.from_arrays(pa.array([0] * 20, pa.int32()), picture)
        pq.write_table(
            pa.table({"img": pictures, "label": [0] * 20}),
            here / "train.parquet",
            store_schema=False,
        )
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(
            resource.RLIMIT_AS, (pages * resource.getpagesize() + 512 * 2**20, before[1])
        )
        try:
            with pytest.raises(SpecError, match="takes more memory than there is"):
                catalog.find("datasets", "cifar10")("train", root=str(here))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)


@tries(80)
@given(mutated(PARQUET))
def test_a_damaged_table_is_read_or_one_line(content: bytes) -> None:
    with fenced() as here:
        (here / "test.parquet").write_bytes(content)
        loaded("cifar10 files", "cifar10", "test", here)


@tries(40)
@given(st.binary(max_size=7000), st.sampled_from(["train", "test"]))
def test_binary_batches_of_any_bytes_are_read_or_one_line(content: bytes, split: str) -> None:
    with fenced() as here:
        for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
            (here / f"{name}.bin").write_bytes(content)
        loaded("cifar10 files", "cifar10", split, here)


@tries(80)
@given(mutated(PARQUET))
def test_a_damaged_table_of_ones_own_images_is_read_or_one_line(content: bytes) -> None:
    with fenced() as here:
        (here / "train.parquet").write_bytes(content)
        loaded("image tables", "image_table", "train", here)


def digits(**how: Any) -> bytes:
    out, pixels = io.BytesIO(), np.zeros((32, 32, 3, 4), np.uint8)
    savemat(out, {"X": pixels, "y": np.arange(1, 5)[:, None]}, **how)
    return out.getvalue()


@tries(80)
@given(st.sampled_from([digits(), digits(do_compression=True)]).flatmap(mutated))
def test_a_damaged_file_of_matlab_is_read_or_one_line(content: bytes) -> None:
    with fenced() as here:
        (here / "train_32x32.mat").write_bytes(content)
        loaded("svhn files", "svhn", "train", here)


@tries(80)
@given(mutated(b"path,label\n0.png,a\n1.png,b\n2.png,a\n"))
def test_a_damaged_list_of_images_is_read_or_one_line(content: bytes) -> None:
    with fenced() as here:
        for i in range(3):
            (here / f"{i}.png").write_bytes(FORMS["PNG"])
        (here / "list.csv").write_bytes(content)
        loaded("image tables", "image_table", "train", here / "list.csv")


@pytest.mark.parametrize("path", ["/etc/passwd", "/dev/zero", "../../etc/passwd", "~/x", "$HOME"])
def test_a_list_that_names_what_lies_outside_is_refused(path: str) -> None:
    with fenced() as here:
        (here / "0.png").write_bytes(FORMS["PNG"])
        (here / "list.csv").write_text(f"path,label\n0.png,a\n{path},b\n")
        assert loaded("image tables", "image_table", "train", here / "list.csv") == "refused"
