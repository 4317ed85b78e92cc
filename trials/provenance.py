"""Where a number comes from: the code's version and commit, libraries, device, threads."""

import functools
import hashlib
import importlib.metadata
import importlib.util
import platform
import subprocess
from itertools import chain
from pathlib import Path

from trials.catalog import own_code
from trials.spec import MethodConfig, content_id

LIBRARIES = ("torch", "torchvision", "transformers", "ray", "optuna", "numpy")
_MOST_FILES = 2000  # of a package that are digested; of a larger one the callable's own alone


@functools.lru_cache
def of_code() -> dict[str, str]:
    """Version, commit and dirty flag of poisonsweep, versions of the libraries; computed once a
    process.
    """
    facts = {"poisonsweep": version_of("poisonsweep"), "python": platform.python_version()}
    here = Path(__file__).resolve().parents[1]
    if (here / ".git").exists():
        facts["commit"] = _git(here, "rev-parse", "--short=12", "HEAD") or "unknown"
        facts["dirty"] = (
            "yes" if _git(here, "status", "--porcelain", "--untracked-files=no") else "no"
        )
    if own := own_code():
        facts["methods"] = content_id(own)
    return facts | {name: version_of(name) for name in LIBRARIES}


def of_model(model: MethodConfig) -> dict[str, str]:
    """What else decides how the model is built: timm's version, or a digest of the source of the
    user's own callable.
    """
    if model.name == "timm":
        return {"timm": version_of("timm")}
    place = str(model.params.get("callable", ""))
    return {"model_source": _source_digest(place.partition(":")[0])} if place else {}


@functools.lru_cache
def _source_digest(module: str) -> str:
    """Of the Python files of the module's package, or of the one file of a module without; once a
    process, as what is imported stays.
    """
    try:
        top, own = (importlib.util.find_spec(name) for name in (module.partition(".")[0], module))
    except (ImportError, ValueError):
        return "unknown"
    if not (top and own and own.origin and Path(own.origin).is_file()):
        return "unknown"
    files = [Path(own.origin)]
    if top.submodule_search_locations:
        found = [sorted(Path(place).rglob("*.py")) for place in top.submodule_search_locations]
        whole = list(chain.from_iterable(found))
        files = whole if len(whole) <= _MOST_FILES else files
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return content_id(digests)


def of_device(device: str) -> dict[str, str]:
    """The device's name and torch's thread count."""
    import torch  # noqa: PLC0415  (only workers get here; readers of provenance need no torch)

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return {"device": device, "device_name": name, "threads": str(torch.get_num_threads())}


def version_of(package: str) -> str:
    """Its version, or that it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
