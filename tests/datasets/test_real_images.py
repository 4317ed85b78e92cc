"""Real photographs of ImageNet in every form that people have them in are the same images."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from trials import catalog
from trials.types import Images

EACH = 2
OUTPUTS = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)  # of ImageNet's 1,000


@pytest.fixture(scope="module")
def photographs(imagenette_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of each of the ten synsets, their bytes as they are."""
    top = tmp_path_factory.mktemp("photographs") / "imagenette2-160"
    for synset in sorted((imagenette_root / "train").iterdir()):
        for file in sorted(synset.iterdir())[:EACH]:
            for split in ("train", "val"):
                copy = top / split / synset.name / file.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
    return top


def files(photographs: Path) -> list[Path]:
    return sorted((photographs / "train").rglob("*.JPEG"))


def folder(photographs: Path, _: Path) -> tuple[str, Path]:
    return "image_folder", photographs / "train"


def splits(photographs: Path, _: Path) -> tuple[str, Path]:
    return "image_folder", photographs


def own_layout(photographs: Path, _: Path) -> tuple[str, Path]:
    return "imagenette", photographs.parent


def table(photographs: Path, place: Path) -> tuple[str, Path]:
    named = ((f, place / f.parent.name / f.name) for f in files(photographs))
    rows = ["path\tlabel"]
    for file, copy in named:
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(file.read_bytes())
        rows.append(f"{copy.relative_to(place)}\t{file.parent.name}")
    (place / "labels.tsv").write_text("\n".join(rows))
    return "image_table", place / "labels.tsv"


def shard(photographs: Path, place: Path) -> tuple[str, Path]:
    with tarfile.open(place / "0.tar", "w") as out:
        for file in files(photographs):
            label = file.parent.name.encode()
            for ending, content in (("jpg", file.read_bytes()), ("cls", label)):
                member = tarfile.TarInfo(f"{file.stem}.{ending}")
                member.size = len(content)
                out.addfile(member, io.BytesIO(content))
    return "image_table", place / "0.tar"


def parquet(photographs: Path, place: Path) -> tuple[str, Path]:
    found = files(photographs)
    names = sorted({file.parent.name for file in found})
    said = {"label": {"_type": "ClassLabel", "names": names}, "image": {"_type": "Image"}}
    rows = {
        "image": [{"bytes": file.read_bytes(), "path": file.name} for file in found],
        "label": [names.index(file.parent.name) for file in found],
    }
    schema = {"huggingface": json.dumps({"info": {"features": said}})}
    pq.write_table(pa.table(rows).replace_schema_metadata(schema), place / "train-00000.parquet")
    return "image_table", place


FORMS = [folder, splits, own_layout, table, shard, parquet]


def read(form: tuple[str, Path], size: int, **settings: str) -> Images:
    name, root = form
    found: Images = catalog.find("datasets", name)("train", root=str(root), size=size, **settings)
    return found


@pytest.mark.parametrize("form", FORMS)
def test_photographs_are_the_same_in_every_form(
    photographs: Path, tmp_path: Path, form: Callable[[Path, Path], tuple[str, Path]]
) -> None:
    plain = read(folder(photographs, tmp_path), 48)
    found = read(form(photographs, tmp_path), 48)
    assert found.x.shape == (10 * EACH, 3, 48, 48)
    if form is own_layout:  # which takes less of the rim, as is usual with ImageNet
        pairs = torch.corrcoef(torch.stack([found.x.flatten(), plain.x.flatten()]).double())
        assert pairs[0, 1] > 0.5
    else:
        assert torch.equal(found.x, plain.x)
    assert found.y.tolist() == plain.y.tolist() == [i // EACH for i in range(10 * EACH)]
    assert float(found.x.double().std()) > 30, "they are photographs"


@pytest.mark.parametrize("form", [folder, table, shard, parquet])
def test_synsets_are_found_among_imagenets_outputs(
    photographs: Path, tmp_path: Path, form: Callable[[Path, Path], tuple[str, Path]]
) -> None:
    found = read(form(photographs, tmp_path), 48, classes="imagenet")
    assert (found.outputs[:10], found.logits, found.classes) == (OUTPUTS, 1000, 10)


@pytest.mark.parametrize("form", FORMS)
def test_large_photographs_are_decoded_once_and_then_mapped(
    photographs: Path,
    tmp_path: Path,
    cache_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: Callable[[Path, Path], tuple[str, Path]],
) -> None:
    opened, decode = list[object](), Image.open

    def counted(source: object, *args: object, **how: object) -> object:
        opened.append(source)
        return decode(source, *args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", counted)
    place = form(photographs, tmp_path)
    first = read(place, 224)
    assert len(opened) == 10 * EACH
    again = read(place, 224)
    assert len(opened) == 10 * EACH and torch.equal(first.x, again.x)
    (kept,) = cache_folder.glob("*.npy")
    assert kept.stat().st_size >= 10 * EACH * 3 * 224 * 224
