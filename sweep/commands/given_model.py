"""What --model, --arch, --norm, --mean and --std say: the model of a sweep, and its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trials import catalog
from trials.architecture import parsed
from trials.normalisation import CONSTANTS, numbers
from trials.spec import Scalar, SpecError
from trials.weights.shards import CONFIG, files_of, is_hugging_face

HUGGING_FACE = "hugging_face"
_PREPROCESSOR = "preprocessor_config.json"
Model = tuple[str, dict[str, Scalar]]  # name and settings


def model_of(
    model: Path, arch: str | Mapping[str, Any], *, norm: str = "", mean: str = "", std: str = ""
) -> Model:
    """The model's name and settings.

    Args:
        model: a file of weights, or a Hugging Face folder.
        arch: as ``--arch`` takes it, or the model's table in a sweep; empty for a Hugging Face
            folder, whose config.json says it.
        norm: a preset's name; empty for the model's own.
        mean: in place of it, with std: three numbers, or one.
        std: with mean.

    Raises:
        SpecError: no architecture, no such setting, or a normalisation that is asked for twice.
    """
    name, params = _named(model, arch)
    asked = _normalisation(norm, mean, std)
    if asked and "mean" not in catalog.describe("models", name).settings:
        raise SpecError(f"{name} has a normalisation of its own: leave out --norm, --mean, --std.")
    if asked and (twice := sorted({"norm", "mean", "std"} & params.keys())):
        raise SpecError(f"--arch says {twice[0]}, and so do --norm or --mean. Keep one.")
    return name, {**params, **asked}


def weights_of(model: Path) -> Path:
    """What the recipe ``given`` reads: a folder's one file, or the folder where there are several.

    Raises SpecError where a Hugging Face folder holds none.
    """
    if not is_hugging_face(model):
        return model
    files = files_of(model)
    return files[0] if len(files) == 1 else model


def says_norm(model: Model) -> bool:
    """Whether the user has said how the model normalises."""
    return not {"norm", "mean", "std"}.isdisjoint(model[1])


def _named(model: Path, arch: str | Mapping[str, Any]) -> Model:
    if isinstance(arch, Mapping):
        return str(arch["name"]), {k: v for k, v in arch.items() if k != "name"}
    if arch and arch.partition(":")[0] != HUGGING_FACE:
        return parsed(arch)
    if is_hugging_face(model):
        held = {"config": str((model / CONFIG).resolve())}
        if (model / _PREPROCESSOR).is_file():
            held["preprocessor"] = str((model / _PREPROCESSOR).resolve())
        return HUGGING_FACE, {**held, **(parsed(arch)[1] if arch else {})}
    if arch:
        return parsed(arch)
    raise SpecError(
        f"--arch is left out, and --model names {str(model)!r}, which is no Hugging Face folder "
        f"(with a {CONFIG}). Give --arch: torchvision:NAME, timm:NAME, package.module:callable, or "
        f"one of {', '.join(catalog.names('models'))}."
    )


def _normalisation(norm: str, mean: str, std: str) -> dict[str, Scalar]:
    if norm and (mean or std):
        raise SpecError("--norm and --mean, --std exclude each other: a preset, or numbers.")
    if norm:
        if norm not in CONSTANTS:
            raise SpecError(catalog.unknown("normalisation", norm, sorted(CONSTANTS)))
        return {"norm": norm}
    if bool(mean) != bool(std):
        lost = "--std" if mean else "--mean"
        raise SpecError(f"{lost} is missing: --mean and --std are given together.")
    given = (("mean", mean), ("std", std)) if mean else ()
    return {name: " ".join(map(repr, numbers(name, text))) for name, text in given}
