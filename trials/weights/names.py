"""Which tensor of a file is which of a model's? By names and shapes alone, before data is read."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import prod

from trials.spec import SpecError

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
# what other programs put before a model's names; of a model that is there twice the first counts
_PREFIXES = ("", "model.", "net.", "network.", "backbone.", "encoder.", "1.")
_WRAPPERS = ("module", "_orig_mod")  # DataParallel, torch.compile; around a part of a model too
_SYNONYMS = ((r"(^|\.)linear\.", r"\1fc."), (r"(^|\.)shortcut\.", r"\1downsample."))
_NORMALIZE = "normalize."  # a model's own first layer
NORMALIZE_INPUT = "normalize_input"  # the same as a hook, whose constants are in no state dict
_CONSTANTS = {"mean": "mean", "mu": "mean", "std": "std", "sigma": "std"}
# counters, positions and what profilers write: no output of a model depends on them
_COUNTERS = re.compile(r"(^|\.)(num_batches_tracked|n_averaged|position_ids|total_(ops|params))$")
_TRAINING = re.compile(  # what a training module has beside its model
    r"^(criteri(on|a)|loss(es|_fn|_func|_function)?|metrics?|(train|val|valid|test)_\w+)(\.|$)"
)
_ANCHORS, _TRIED = 8, 30  # names at either end that prefixes are read from; prefixes that are tried


@dataclass(frozen=True, slots=True)
class Matching:
    """Which name of a file is which of a model's.

    Attributes:
        names: the model's name to the file's.
        prefix: what the file's names have in front.
        left_out: the file's names of what is no part of the model, and harmless.
        unexpected: the file's other names.
    """

    names: Mapping[str, str]
    prefix: str
    left_out: tuple[str, ...]
    unexpected: tuple[str, ...]

    def missing(self, own: Iterable[str]) -> list[str]:
        """The model's names that the file lacks, without normalisation and counters."""
        needed = [k for k in own if not k.startswith(_NORMALIZE) and not _COUNTERS.search(k)]
        return [k for k in needed if k not in self.names]

    def other_shapes(self, own: Shapes, shapes: Shapes) -> list[str]:
        """The model's names whose tensor has another shape in the file."""
        return [k for k, theirs in self.names.items() if not _alike(k, own[k], shapes[theirs])]


def match(own: Shapes, shapes: Shapes, name: str) -> Matching:
    """Match the names of a file, called ``name`` in errors, with those of the model ``own``.

    ``module.`` and ``_orig_mod.`` go wherever they stand, then what all of the model's names have
    in front; ``fc`` and ``linear``, ``downsample`` and ``shortcut`` are the same.

    Raises:
        SpecError: the file holds the model, or a tensor of it, twice.
    """
    plain = without_wrappers(shapes, own)
    prefixes = _prefixes(own, plain.values(), name)
    known = {_canonical(k): k for k in own}
    found: dict[str, str] = {}
    left_out, unexpected = list[str](), list[str]()
    for key, short in sorted(plain.items()):  # a file may have them in any order
        new = prefixes.own_name(short, known) or _normalisation(own, short, shapes[key])
        if new is None:
            (left_out if prefixes.harmless(short) else unexpected).append(key)
        elif new in found:
            raise SpecError(f"{name!r} holds {new} twice, under two names. Keep one.")
        else:
            found[new] = key
    model = [key for new, key in found.items() if not new.startswith(_NORMALIZE)]
    front = _front(model[0], plain[model[0]], prefixes.depth) if model else ""
    return Matching(found, front, tuple(left_out), tuple(unexpected))


def without_wrappers(names: Iterable[str], own: Iterable[str] = ()) -> dict[str, str]:
    """Each name without the parts that wrappers add, unless the model has them too."""
    parts = set(chain.from_iterable(key.split(".") for key in own))
    drop = [w for w in _WRAPPERS if w not in parts]
    return {key: _without(key, drop) for key in names}


def common_prefix(names: Sequence[str]) -> str:
    """The parts that all names begin with, with the dot that follows; never a whole name."""
    split = [key.split(".")[:-1] for key in names]
    shared = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0] + ".")
    return "".join(shared)


def check_fit(
    own: Shapes, shapes: Shapes, found: Matching, name: str, may_differ: Collection[str]
) -> None:
    """Raise SpecError unless all of the model's names are there, with their shapes, and no others,
    but for ``may_differ``.
    """
    missing = [k for k in found.missing(own) if k not in may_differ]
    other = [k for k in found.other_shapes(own, shapes) if k not in may_differ]
    if not (missing or found.unexpected or other):
        return
    from trials.weights.known import hint  # noqa: PLC0415 - knows the models, which load weights

    faults = [f"missing {some(missing)}"] if missing else []
    faults += [f"unexpected {some(found.unexpected)}"] if found.unexpected else []
    sizes = [(k, shapes[found.names[k]], own[k]) for k in other]
    faults += [f"{k} is {theirs}, expected {ours}" for k, theirs, ours in sizes[:2]]
    said = f"{name!r} does not fit the model"
    if not (missing or found.unexpected) and _one_head(sizes):
        _, theirs, ours = sizes[0]
        raise SpecError(
            f"{said}, but for its head it would: {'; '.join(faults)}. It is a model of {theirs[0]} "
            f"classes, and {ours[0]} are asked for: as many as there are class folders. --classes "
            "(in a sweep: classes of the data set) says which of its outputs they are."
        )
    kind = ": it is of another architecture: " if missing else ": "
    raise SpecError(f"{said}{kind}{'; '.join(faults)}. {hint(shapes)}")


def some(keys: Sequence[str]) -> str:
    """The first two names, and how many more there are."""
    return ", ".join(keys[:2]) + (f" and {len(keys) - 2} more" if len(keys) > 2 else "")


def is_state(key: str) -> bool:
    """A name of running statistics, a normalisation's constant or a counter: of no parameter."""
    statistics = ("running_mean", "running_var")
    return key.rpartition(".")[2] in (*statistics, *_CONSTANTS) or bool(_COUNTERS.search(key))


@dataclass(frozen=True, slots=True)
class _Prefixes:
    """What is before the names of the file, and of the model, and of other copies in the file."""

    theirs: str = ""
    ours: str = ""
    copies: tuple[str, ...] = ()

    @property
    def depth(self) -> int:
        return self.theirs.count(".")

    def own_name(self, short: str, known: Mapping[str, str]) -> str | None:
        name = _canonical(short)
        if not name.startswith(self.theirs):
            return None
        return known.get(self.ours + name.removeprefix(self.theirs))

    def harmless(self, short: str) -> bool:
        outside = not self.theirs or not _canonical(short).startswith(self.theirs)
        copy = _canonical(short).startswith(self.copies)
        return bool(_COUNTERS.search(short)) or (outside and (copy or bool(_TRAINING.match(short))))


def _prefixes(own: Shapes, names: Iterable[str], file: str) -> _Prefixes:
    """The prefixes under which most of the model's names are in the file.

    Raises SpecError where that is so of several, and none is a usual one.
    """
    there = set(map(_canonical, names))
    core = [k for k in own if not k.startswith(_NORMALIZE)]
    scores: dict[tuple[str, str], int] = {}
    for ours in dict.fromkeys(("", common_prefix(core))):
        wanted = [_canonical(k.removeprefix(ours)) for k in core]
        for theirs in _in_front(wanted, there):
            scores[theirs, ours] = sum(theirs + w in there for w in wanted)
    most = max(scores.values())
    best = sorted((pair for pair, score in scores.items() if score == most), key=_order)
    if not most or most < len(core):
        return _Prefixes(*best[0])
    first, *others = best
    copies = tuple(p for p, ours in others if ours == first[1] and p != first[0])
    if copies and first[0] not in _PREFIXES:
        raise SpecError(
            f"{file!r} holds this model more than once, under {first[0]} and {copies[0]} Keep one."
        )
    return _Prefixes(*first, copies)


def _order(pair: tuple[str, str]) -> tuple[int, int, str]:
    theirs, ours = pair
    rank = _PREFIXES.index(theirs) if theirs in _PREFIXES else len(_PREFIXES)
    return rank, len(ours), theirs


def _in_front(wanted: Sequence[str], there: Collection[str]) -> list[str]:
    """What stands before the first and last of the wanted names, the most frequent first."""
    ends = [f".{w}" for w in dict.fromkeys([*wanted[:_ANCHORS], *wanted[-_ANCHORS:]])]
    counts = Counter[str]()
    for key in there:
        counts.update(key[: len(key) - len(end) + 1] for end in ends if key.endswith(end))
    return list(dict.fromkeys(["", *(p for p, _ in counts.most_common(_TRIED))]))


@lru_cache(maxsize=4096)  # the names of one file, asked for by every architecture
def _canonical(key: str) -> str:
    for pattern, other in _SYNONYMS:
        key = re.sub(pattern, other, key)
    return key


def _without(key: str, drop: Collection[str]) -> str:
    return ".".join(part for part in key.split(".") if part not in drop) or key


def _front(key: str, short: str, depth: int) -> str:
    """What the file's name has in front of the model's; ``module.`` may also stand within."""
    rest = ".".join(short.split(".")[depth:])
    within = ".".join(w for w in _WRAPPERS if w in key.split("."))
    return key.removesuffix(rest) if key.endswith(rest) else f"{within}."


def _normalisation(own: Shapes, short: str, shape: Shape) -> str | None:
    """The model's own constant that a normalisation in front of the file's model holds."""
    last = short.rpartition(".")[2]
    new = _NORMALIZE + _CONSTANTS.get(last, last)
    return new if new in own and prod(own[new]) == prod(shape) else None


def _alike(name: str, ours: Shape, theirs: Shape) -> bool:
    return prod(ours) == prod(theirs) if name.startswith(_NORMALIZE) else ours == theirs


def _one_head(sizes: Sequence[tuple[str, Shape, Shape]]) -> bool:
    """Only outputs of one linear layer (or 1x1 convolution) differ."""
    layers = {key.rpartition(".")[0] for key, _, _ in sizes}
    rest = all(len(theirs) and theirs[1:] == ours[1:] for _, theirs, ours in sizes)
    flat = all(prod(ours[2:]) == 1 for _, _, ours in sizes)
    return len(layers) == 1 and rest and flat and any(len(ours) > 1 for _, _, ours in sizes)
