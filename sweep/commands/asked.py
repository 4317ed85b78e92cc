"""From what ``defend`` is asked for to a sweep: the given model is its victim, and all trusted
images are used.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.selection.rules import OWN_RULE
from sweep.spec import sweep_file
from sweep.spec.architecture import as_table
from sweep.spec.old_words import modern
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.image_tables import TABLES, parquet_files
from trials.self_poisoning import MIXED
from trials.spec import SpecError

# in the order in which they are tried: what may suffice at little cost comes first
DEFENSES = (
    "clp",
    "fst",
    "d3",
    "overlay_soup",
    "fine_pruning",
    "rnp",
    "weight_decay",
    "ft_sam",
    "nad",
    "neural_cleanse",
    "fine_tuning",
    "none",
)
LIMIT = 6  # configurations of each
# short runs of small batches, as all of them run on several copies
_SHORT = {"batch": 64, "steps": 200}
_AS_IT_IS = ("overlay_soup",)  # its steps are those of one of several models
_COPIES = 3
_REACH = 0.8  # ASR of a copy; some kinds are not learned further by a small network
_SCHEME = "distilled"  # of those measured, the one that orders settings best (docs/answer.md)
_NOT_HERE = {
    "victim": "the model and the images are those of --model and --trusted",
    "trusted": "all images of --trusted are used",
    "confirm": "what is applied is always confirmed",
    "judge_all": "there is no real attack to judge by",
    "tune_on": "the given model is what defenses are tuned on",
    "detectors": "defend repairs; run a sweep with detectors instead",
}
_OWN = ("flip", "order")  # keys that a sweep for `defend` has and no other
# images smaller than this are tuned with the CIFAR-10 grids, larger ones with the ImageNet grids
SMALL = 64


def sweep_of(  # noqa: PLR0913
    model: Path,
    arch: str | Mapping[str, Any],
    trusted: Path,
    spec: str | Path | Mapping[str, Any] | None = None,
    *,
    size: int = 32,
    seed: int | None = None,
    device: str = "",
    flip: bool | None = None,
    order: str | None = None,
) -> Sweep:
    """The sweep; what is given here goes before what ``spec`` says.

    Raises:
        SpecError: for whatever is wrong, but what lies in the files.
    """
    architecture = as_table(arch) if isinstance(arch, str) else arch
    for path, what in ((model, "--model"), (trusted, "--trusted")):
        if not path.exists():
            raise SpecError(f"{what} names {str(path)!r}, which does not exist.")
    data = _table(spec, size)
    mirrored = data.get("flip", True) if flip is None else flip
    if not isinstance(mirrored, bool):
        where = "spec" if isinstance(spec, Mapping) else spec
        raise SpecError(f"{where}: flip must be true or false, got {mirrored!r}.")
    dataset = {
        "name": _kind_of(trusted),
        "root": str(trusted.resolve()),
        "size": size,
        "flip": mirrored,
        "order": data.get("order", "numbers") if order is None else order,
    }
    victim = {
        "dataset": dataset,
        "model": architecture,
        "training": {"name": "given", "weights": str(model.resolve())},
    }
    # confirmed is what is applied, once that is known
    fixed = {"victim": victim, "trusted": 1.0, "confirm": False}
    asked = {k: v for k, v in data.items() if k not in _OWN}
    if seed is not None:
        asked["seeds"] = seed
    compute = data.get("compute", {})
    if isinstance(compute, Mapping):
        # a defense that does not fit the model must not end the others
        asked["compute"] = {"abort_at": 1.0, **compute, **({"device": device} if device else {})}
    return sweep_file.parse({"name": "defend", **asked, **fixed}, "defend")


def _kind_of(trusted: Path) -> str:
    """The data set that reads the trusted images."""
    if trusted.is_dir():
        return "image_table" if parquet_files(trusted, "train") else "image_folder"
    if trusted.is_file() and trusted.suffix.lower() in TABLES:
        return "image_table"
    raise SpecError(
        f"--trusted names {str(trusted)!r}, which is neither a folder with one sub-folder a class "
        f"nor a file that ends in {', '.join(TABLES)}."
    )


def _table(spec: str | Path | Mapping[str, Any] | None, size: int) -> dict[str, Any]:
    """What the file says, or the default: every defense on a few points of its grid, on copies that
    carry three kinds of trigger, distilled, and on the reconstructed one.
    """
    if spec is None:
        profile = "cifar10" if size < SMALL else "imagenet"
        return {
            "rule": OWN_RULE,
            "tuning": {"copies": _COPIES, "reconstruct": True},
            "self_poisoning": {"attack": MIXED, "scheme": _SCHEME, "reach": _REACH},
            "defenses": [_default(name, profile) for name in DEFENSES],
        }
    given = spec if isinstance(spec, Mapping) else sweep_file.table_of(Path(spec))
    data = modern(dict(given))
    spec = "spec" if isinstance(spec, Mapping) else spec
    for key, why in _NOT_HERE.items():
        if key in data:
            raise SpecError(f"{spec}: remove {key}: {why}.")
    if data.get("game", "tuning") != "tuning" or isinstance(data.get("self_poisoning"), list):
        raise SpecError(
            f'{spec}: defend needs game = "tuning" and one [self_poisoning] table at most.'
        )
    return data


def _default(name: str, profile: str) -> dict[str, Any]:
    """A defense that nobody asked for by name."""
    known = catalog.describe("defenses", name).settings
    short = {k: v for k, v in _SHORT.items() if k in known and name not in _AS_IT_IS}
    return {"name": name, "profile": profile, "limit": LIMIT, "fixed": short}
