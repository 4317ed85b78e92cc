"""Data sets in the layouts that torchvision has, whole but small, and their own readers."""

import io
from pathlib import Path

import numpy as np
from fuzzing import bounded, judged, tallied
from PIL import Image

from sweep.console.terminal import line
from trials import catalog
from trials.spec import SpecError

IMAGENET = ("n01440764", "n01443537", "n02102040")
IMAGENETTE = (
    *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
    *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
)
GTSRB = tuple(f"{i:05d}" for i in range(43))
TABLE = "GT-final_test.csv"


def loaded(kind: str, name: str, split: str, root: Path) -> str:
    """A data set's own reader, on the way that `run` takes it."""

    def call() -> str:
        try:
            with bounded():
                images = catalog.find("datasets", name)(split, root=str(root))
        except SpecError as problem:
            return judged(2, "", f"poisonsweep: {line(str(problem))}\n")
        assert images.x.shape[0] == len(images.y)
        return "accepted"

    return tallied(kind, call)


def _picture(form: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(out, form)
    return out.getvalue()


JPEG, PPM = _picture("JPEG"), _picture("PPM")


def whole(name: str) -> dict[str, bytes]:
    """The files of a data set with an image or two of each class, by their paths."""
    if name != "gtsrb":
        classes = IMAGENET if name == "imagenet" else IMAGENETTE
        top = "" if name == "imagenet" else "imagenette2-160/"
        return {f"{top}{part}/{c}/0.JPEG": JPEG for part in ("train", "val") for c in classes}
    files = {f"GTSRB/Training/{c}/00000_00000.ppm": PPM for c in GTSRB}
    files |= {f"GTSRB/Final_Test/Images/{i:05d}.ppm": PPM for i in range(4)}
    rows = "".join(f"{i:05d}.ppm;4;4;0;0;3;3;{i}\r\n" for i in range(4))
    head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\r\n"
    return files | {TABLE: (head + rows).encode()}


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
