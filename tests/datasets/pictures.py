"""Pictures that the tests of image files write."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

Colour = tuple[int, int, int]


def write(file: Path, colour: Colour = (10, 20, 30), size: tuple[int, int] = (40, 40)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    form = {".ppm": "PPM", ".png": "PNG"}.get(file.suffix, "JPEG")
    Image.new("RGB", size, colour).save(
        file, form, **({"quality": 100, "subsampling": 0} if form == "JPEG" else {})
    )


def png(image: NDArray[np.uint8]) -> bytes:
    """The PNG file of pixels (3, h, w)."""
    out = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(out, "png")
    return out.getvalue()


def write_parquet(
    file: Path,
    x: NDArray[np.uint8],
    labels: Any,
    column: str = "img",
    label: str = "label",
    metadata: dict[bytes, bytes] | None = None,
) -> None:
    """A file as Hugging Face writes it; ``metadata`` is the schema's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(image), "path": None} for image in x]
    table = pa.table({column: images, label: labels})
    pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, file)
