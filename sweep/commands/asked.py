"""From what ``defend`` is asked for to a sweep: the given model is its victim, and all trusted
images are used.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.selection.rules import OWN_RULE, WORST_RULE
from sweep.commands.given_model import model_of, weights_of
from sweep.commands.image_size import image_size
from sweep.spec import sweep_file
from sweep.spec.old_words import modern
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.image_tables import TABLES, in_files
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
_NOT_HERE = {
    "victim": "the model and the images are those of --model and --trusted",
    "trusted": "all images of --trusted are used",
    "confirm": "what is applied is always confirmed",
    "judge_all": "there is no real attack to judge by",
    "tune_on": "the given model is what defenses are tuned on",
    "detectors": "defend repairs; run a sweep with detectors instead",
}
_ORDERS = ("order", "classes")
_OWN = ("flip", *_ORDERS)  # keys that a sweep for `defend` has and no other
_SHIFTED = 8  # training shifts images by up to this part of their side
# images smaller than this are tuned with the CIFAR-10 grids, larger ones with the ImageNet grids
SMALL = 64
Spec = str | Path | Mapping[str, Any] | None  # a sweep without [victim]: a file, or its table


def sweep_of(  # noqa: PLR0913
    model: Path,
    arch: str | Mapping[str, Any],
    trusted: Path,
    spec: Spec = None,
    *,
    size: int | None = None,
    norm: str = "",
    mean: str = "",
    std: str = "",
    seed: int | None = None,
    device: str = "",
    flip: bool | None = None,
    order: str | None = None,
    classes: str | Path | None = None,
) -> Sweep:
    """The sweep; what is given here goes before what ``spec`` says.

    Raises:
        SpecError: for whatever is wrong, but what lies in the files.
    """
    there_are(model, trusted)
    named = model_of(model, arch, norm=norm, mean=mean, std=std)
    dataset = dataset_of(trusted, spec, flip=flip, order=order, classes=classes)
    side = image_size(named, dataset)[0] if size is None else size
    data = _table(spec, side)
    victim = {
        "dataset": {**dataset, "size": side, "pad": side // _SHIFTED},
        "model": {"name": named[0], **named[1]},
        "training": {"name": "given", "weights": str(weights_of(model).resolve())},
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


def there_are(model: Path, trusted: Path) -> None:
    """Raises SpecError where one of the two is not there."""
    for path, what in ((model, "--model"), (trusted, "--trusted")):
        if not path.exists():
            raise SpecError(f"{what} names {str(path)!r}, which does not exist.")


def dataset_of(
    trusted: Path,
    spec: Spec,
    *,
    flip: bool | None = None,
    order: str | None = None,
    classes: str | Path | None = None,
    what: str = "--trusted",
) -> dict[str, Any]:
    """The data set that reads the trusted images, but for its size; what is given here goes before
    what ``spec`` says. ``what`` is the option that names them.
    """
    data = said_by(spec)
    mirrored = data.get("flip", True) if flip is None else flip
    if not isinstance(mirrored, bool):
        raise SpecError(f"{_named(spec)}: flip must be true or false, got {mirrored!r}.")
    return {
        "name": _kind_of(trusted, what),
        "root": str(trusted.resolve()),
        "flip": mirrored,
        **_class_order(data, spec, order, classes),
    }


def said_by(spec: Spec) -> dict[str, Any]:
    """What a sweep without ``[victim]`` says, in today's words; nothing where there is none."""
    if spec is None:
        return {}
    return modern(dict(spec if isinstance(spec, Mapping) else sweep_file.table_of(Path(spec))))


def _named(spec: Spec) -> str:
    return "spec" if isinstance(spec, Mapping) else str(spec)


def says_order(spec: Spec, order: str | None = None, classes: str | Path | None = None) -> bool:
    """Whether the user has said which output each class is."""
    in_spec = not set(_ORDERS).isdisjoint(said_by(spec))
    return in_spec or order is not None or classes is not None


def _class_order(
    data: Mapping[str, Any],
    spec: Spec,
    order: str | None,
    classes: str | Path | None,
) -> dict[str, Any]:
    """The data set's settings that say which output each class is."""
    given = {"order": order, "classes": classes}
    if order is None and classes is None:
        given = {key: data[key] for key in _ORDERS if key in data}
    if given.get("order") is not None and given.get("classes") is not None:
        raise SpecError(
            "order and classes both say which output each class is. Give one of them: --order "
            "sorts the names, --classes names the outputs."
        )
    place = given.get("classes")
    if place is None:
        return {"order": given.get("order", "numbers")}
    words = catalog.describe("datasets", "image_folder").settings["classes"].words
    folder = Path()
    if isinstance(spec, str | Path) and classes is None:
        folder = Path(spec).parent
    return {"classes": place if place in words else str((folder / str(place)).resolve())}


def _kind_of(trusted: Path, what: str) -> str:
    """The data set that reads the images."""
    if trusted.is_dir():
        return "image_table" if in_files(trusted, "train") else "image_folder"
    if trusted.is_file() and trusted.suffix.lower() in TABLES:
        return "image_table"
    if not trusted.exists():
        raise SpecError(f"{what} names {str(trusted)!r}, which does not exist.")
    raise SpecError(
        f"{what} names {str(trusted)!r}, which is neither a folder with one sub-folder a class "
        f"nor a file that ends in {', '.join(TABLES)}."
    )


def _table(spec: Spec, size: int) -> dict[str, Any]:
    """What the file says, or the default: every defense on a few points of its grid, on copies that
    carry three kinds of trigger, and on the reconstructed one, which may be smooth.
    """
    if spec is None:
        profile = "cifar10" if size < SMALL else "imagenet"
        # late was not tried on large images; copies by distilled overstate what fst leaves, so that
        # the reconstructed trigger chooses better alone (docs/answer.md)
        rule, scheme = (WORST_RULE, "late") if size < SMALL else (OWN_RULE, "distilled")
        # a round of late takes minutes, and of 82 copies none was learned in a later one than the
        # first: another trigger is drawn
        given_up = {"hope": 1.0} if scheme == "late" else {}
        return {
            "rule": rule,
            "tuning": {
                "copies": _COPIES,
                "reconstruct": True,
                "smooth": size < SMALL,  # not tried on large images
            },
            "self_poisoning": {
                "attack": MIXED,
                "scheme": scheme,
                "reach": _REACH,
                **given_up,
            },
            "defenses": [_default(name, profile) for name in DEFENSES],
        }
    data = said_by(spec)
    for key, why in _NOT_HERE.items():
        if key in data:
            raise SpecError(f"{_named(spec)}: remove {key}: {why}.")
    if data.get("game", "tuning") != "tuning" or isinstance(data.get("self_poisoning"), list):
        raise SpecError(
            f'{_named(spec)}: defend needs game = "tuning" and one [self_poisoning] table at most.'
        )
    return data


def _default(name: str, profile: str) -> dict[str, Any]:
    """A defense that nobody asked for by name."""
    known = catalog.describe("defenses", name).settings
    short = {k: v for k, v in _SHORT.items() if k in known and name not in _AS_IT_IS}
    return {"name": name, "profile": profile, "limit": LIMIT, "fixed": short}
