"""Where a number comes from: the code's version and commit, libraries, device, threads."""

import functools
import importlib.metadata
import platform
import subprocess
from itertools import chain
from pathlib import Path

from trials.catalog import own_folders
from trials.digests import digest_of
from trials.spec import content_id

LIBRARIES = ("torch", "torchvision", "transformers", "ray", "optuna", "numpy")


@functools.lru_cache
def of_code() -> dict[str, str]:
    """Version, commit and dirty flag of poisonsweep, versions of the libraries; computed once a
    process.
    """
    facts = {"poisonsweep": _version("poisonsweep"), "python": platform.python_version()}
    here = Path(__file__).resolve().parents[1]
    if (here / ".git").exists():
        facts["commit"] = _git(here, "rev-parse", "--short=12", "HEAD") or "unknown"
        facts["dirty"] = (
            "yes" if _git(here, "status", "--porcelain", "--untracked-files=no") else "no"
        )
    if own := own_folders():
        files = chain.from_iterable(sorted(folder.rglob("*.py")) for folder in own)
        facts["methods"] = content_id([digest_of(file) for file in files])
    return facts | {name: _version(name) for name in LIBRARIES}


def of_device(device: str) -> dict[str, str]:
    """The device's name and torch's thread count."""
    import torch  # noqa: PLC0415  (only workers get here; readers of provenance need no torch)

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return {"device": device, "device_name": name, "threads": str(torch.get_num_threads())}


def _version(package: str) -> str:
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
