"""What is in a file of weights, of whatever model: safetensors, or torch's."""

import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from trials.spec import SpecError
from trials.weights._unpack import CODE, DIED, NO_STATE, TOO_MUCH, Refused, Unpacked, unpacked
from trials.weights.other_files import ACCEPTED, convert, other_kind

_TORCH = (b"PK", b"\x80")  # a zip archive; a pickle, as torch wrote before version 1.6
SAFE_TYPES = {  # that are taken
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F64": "float64",
    "I64": "int64",
}


def is_safetensors(file: Path) -> bool:
    """Whether a file of weights is safetensors; if not, it is torch's.

    Raises:
        SpecError: it cannot be read, or is neither, and what it is and what to do.
    """
    try:
        said = other_kind(file)
        if file.is_dir():
            raise SpecError(f"cannot read the weights {str(file)!r}: it {said}")
        if file.exists() and not file.is_file():  # a pipe or a device would be read for ever
            raise OSError(0, "it is not a file")
        with file.open("rb") as stream:
            head = stream.read(9)
    except OSError as problem:
        raise SpecError(
            f"cannot read the weights {str(file)!r}: {problem.strerror}. Check the path."
        ) from problem
    if said:
        raise SpecError(f"{str(file)!r} {said}")
    if head[8:] == b"{" or file.suffix == ".safetensors":
        return True
    if not head.startswith(_TORCH):
        raise SpecError(f"{str(file)!r} is no weights file, or damaged. {ACCEPTED}")
    return False


def safetensors_header(file: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes and types of the tensors, in safetensors' own words.

    Raises:
        SpecError: it is no whole safetensors file.
    """
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            slices = {k: opened.get_slice(k) for k in opened.keys()}  # noqa: SIM118 - not a mapping
            shapes = {k: tuple(map(int, s.get_shape())) for k, s in slices.items()}
            return shapes, {k: str(s.get_dtype()) for k, s in slices.items()}
    except (SafetensorError, OSError) as problem:
        raise not_whole(file, problem) from problem


def not_whole(file: Path, problem: Exception) -> SpecError:
    """What is raised for a damaged safetensors file."""
    return SpecError(f"{str(file)!r} is no whole safetensors file ({problem}). Copy it again.")


def read_torch(file: Path, most: int, than: str = "this model. Is it for another one?") -> Unpacked:
    """The tensors of a state dict, read by torch's own restricted unpickler in another process.

    Args:
        file: a torch file.
        most: bytes that its tensors may have; what unpacks to more is refused.
        than: the end of that refusal: than what it is more.

    Raises:
        SpecError: in one line, with what to do.
    """
    try:
        size = _unpacked_size(file)
    except (zipfile.BadZipFile, OSError, ValueError) as problem:
        raise SpecError(f"{str(file)!r} is damaged ({problem}). {ACCEPTED}") from problem
    if size > most:
        raise SpecError(f"{str(file)!r} holds {size / 2**20:.0f} MiB, far more than {than}")
    try:
        return unpacked(file, most)
    except Refused as problem:
        code, *asked = problem.args
        if code == CODE:
            raise SpecError(_code(file, *asked)) from problem
        says = {
            NO_STATE: "holds no state dict (names and dense tensors)",
            TOO_MUCH: "takes more memory or time to open than this model's weights could: refused",
            DIED: "made the process that opened it fail: refused",
        }.get(code, "is no weights file, or damaged")
        raise SpecError(f"{str(file)!r} {says}. {ACCEPTED}") from problem


def _code(file: Path, asked: str = "") -> str:
    """Why a file is refused that asks for an object by name, and how to make a state dict of it."""
    what = (
        f"holds {asked}, which is more than weights and could run code: refused"
        if asked
        else "holds more than weights, which could run code: refused"
    )
    return (
        f"{str(file)!r} {what}. {ACCEPTED} This command makes one, and runs what the file holds, "
        f"so only if you trust where it is from: {convert(file)}"
    )


def _unpacked_size(file: Path) -> int:
    """Bytes of the file, or of what it says that it unpacks to, if that is more."""
    size = file.stat().st_size
    if not zipfile.is_zipfile(file):
        return size
    with zipfile.ZipFile(file) as opened:
        return max(size, sum(part.file_size for part in opened.infolist()))
