"""Pictures of one colour that the tests of image files write."""

from pathlib import Path

from PIL import Image

Colour = tuple[int, int, int]


def write(file: Path, colour: Colour = (10, 20, 30), size: tuple[int, int] = (40, 40)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    form = {".ppm": "PPM", ".png": "PNG"}.get(file.suffix, "JPEG")
    Image.new("RGB", size, colour).save(
        file, form, **({"quality": 100, "subsampling": 0} if form == "JPEG" else {})
    )
