"""Tables of images: the rows of a CSV or TSV file, and the Parquet files or tar shards of a folder.
Loads neither torch nor Arrow.
"""

import csv
import io
import re
from itertools import islice
from pathlib import Path

from trials.spec import SpecError

TEXT = (".csv", ".tsv")
SHARD = ".tar"  # of WebDataset
TABLES = (*TEXT, ".parquet", SHARD)  # endings
PATHS = ("path", "file", "filename", "file_name", "filepath", "image", "img")
LABELS = ("label", "labels", "class", "classid", "target", "fine_label")
_LARGEST = 256 * 2**20  # bytes of a table
_MOST = 1_000_000  # rows of a table
_SPLITS = {"train": ("train",), "test": ("test", "validation", "val")}
_WORDS = {"train": ("train", "training"), "test": ("test", "testing", "validation", "val", "valid")}
_PLACES = ("", "data", "plain_text", "default")  # folders in which Hugging Face keeps them


def parquet_files(root: Path, split: str) -> list[Path]:
    """The split's Parquet files in a folder of Hugging Face's layout; none where it has no such
    files.
    """
    for name in _SPLITS[split]:
        for place in _PLACES:
            here = root / place
            files = {*here.glob(f"{name}.parquet"), *here.glob(f"{name}-*.parquet")}
            if files:
                return sorted(files)
    return []


def shard_files(root: Path, split: str) -> list[Path]:
    """The split's tar files in a folder of WebDataset's shards; none where it has no such files.

    They lie in a folder of the split's name, or have it in theirs (train-0000.tar); where no name
    says test, all are training shards. A folder with others in it has classes, and no shards.
    """
    for name in _WORDS[split]:
        if found := _shards_alone(root / name):
            return found
    found = _shards_alone(root)
    words = {shard: set(re.split("[^a-z]+", shard.stem.lower())) for shard in found}
    known = {shard for shard in found if words[shard] & {*_WORDS["train"], *_WORDS["test"]}}
    if known:
        return [shard for shard in found if words[shard] & set(_WORDS[split])]
    return found if split == "train" else []


def _shards_alone(folder: Path) -> list[Path]:
    """The shards of a folder that has no others in it."""
    if not folder.is_dir() or any(p.is_dir() and p.name[:1] != "." for p in folder.iterdir()):
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() == SHARD and p.is_file())


def in_files(root: Path, split: str) -> list[Path]:
    """The split's Parquet files or shards in a folder; none where it has neither."""
    return parquet_files(root, split) or shard_files(root, split)


def rows(table: Path) -> list[tuple[Path, str]]:
    """The image and the label of each row of a CSV or TSV file.

    A first row that names columns is one with a name of ``PATHS`` and one of ``LABELS``; without
    it, the columns are path and label.

    Raises:
        SpecError: it cannot be read, has no such columns, or names what lies outside its folder.
    """
    try:
        if table.stat().st_size > _LARGEST:
            raise SpecError(f"image_table: {str(table)!r} has more than {_LARGEST // 2**20} MiB.")
        text = table.read_text(encoding="utf-8-sig")
        reader = csv.reader(io.StringIO(text), delimiter=_delimiter(table, text))
        found = list(islice(reader, _MOST + 1))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise SpecError(
            f"image_table: cannot read {str(table)!r} as a table: {problem}. Write it in UTF-8, "
            "with a path and a label a row."
        ) from problem
    if len(found) > _MOST:
        raise SpecError(f"image_table: {str(table)!r} has more than {_MOST:,} rows.")
    path, label, first = _columns(table, found)
    top = table.resolve().parent
    kept = ((i, row) for i, row in enumerate(found[first:], first + 1) if any(row))
    return [(_inside(table, top, i, row, path), _cell(table, i, row, label)) for i, row in kept]


def named(table: Path) -> list[Path]:
    """The files that a CSV or TSV file names, as far as they are there, each once."""
    return sorted({file for file, _ in rows(table) if there(file)})


def there(file: Path) -> bool:
    """Whether a file is there; a name longer than any file's is not."""
    try:
        return file.is_file()
    except OSError:
        return False


def _delimiter(table: Path, text: str) -> str:
    if table.suffix.lower() == ".tsv":
        return "\t"
    head = text.partition("\n")[0]
    return max(",;\t", key=head.count)


def _columns(table: Path, found: list[list[str]]) -> tuple[int, int, int]:
    """The columns of path and label, and the first row that is not their names."""
    if not found:
        raise SpecError(f"image_table: {str(table)!r} is empty. Write a path and a label a row.")
    head = [name.strip().lower() for name in found[0]]
    path = next((head.index(n) for n in PATHS if n in head), None)
    label = next((head.index(n) for n in LABELS if n in head), None)
    if path is not None and label is not None:
        return path, label, 1
    if len(head) == 2 and path is None and label is None:
        return 0, 1, 0
    raise SpecError(
        f"image_table: {str(table)!r} has the columns {', '.join(map(repr, head[:8]))}; needed are "
        "path and label."
    )


def _cell(table: Path, line: int, row: list[str], column: int) -> str:
    text = row[column].strip() if column < len(row) else ""
    if not text:
        raise SpecError(f"image_table: {str(table)!r} row {line} has no path or no label.")
    return text


def _inside(table: Path, top: Path, line: int, row: list[str], column: int) -> Path:
    """The file that the row names. Raises SpecError where it lies outside the table's folder."""
    text = _cell(table, line, row, column)
    try:
        file = (top / text).resolve()
    except (OSError, RuntimeError, ValueError) as problem:  # links in a circle, a zero byte
        raise SpecError(
            f"image_table: {str(table)!r} row {line} names {text!r}, which is no path."
        ) from problem
    if not file.is_relative_to(top):
        raise SpecError(
            f"image_table: {str(table)!r} row {line} names {text!r}, which lies outside its "
            "folder. Put the table into a folder above its images."
        )
    return file
