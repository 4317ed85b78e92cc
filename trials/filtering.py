"""Rows of a training set that a data filter removes, and what the game ``filtering`` is handed."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from trials import catalog
from trials.data_views import data_view, learned, own_rows_in, untrusted
from trials.dependencies import unfiltered
from trials.self_poisoning.own_rows import OwnRows
from trials.spec import SpecError, Trial
from trials.types import Images, Implant, Poisoning
from trials.views import DataView, SampleScores

if TYPE_CHECKING:
    from trials.runtime import TrialRuntime

OWN_FOUND = "own_found"  # bool (p,) in the artifact: which of the defender's rows are removed
Score = Callable[[DataView, Generator], SampleScores]


@dataclass(frozen=True, slots=True)
class FilteringContext:
    """What the game that scores and judges is handed; the filter itself is given ``view`` alone.

    Attributes:
        view: all that the filter may see.
        score: the filter under trial, settings bound.
        poisoning: the training set with the attacks in it; the judge's.
        rows: int64 (n,), the places of ``view.train`` in the training set.
        reject: share of those rows that is removed, or a rule of ``trials.rejection``.
        rng: generator of a stage of this trial.
        save: keeps tensors and facts as this trial's artifact.
        own: the defender's poison, which in the view stands after the rows; None where there is
            none.
        learned: ASR of each of the defender's attacks in the model that was trained with them.
    """

    view: DataView
    score: Score
    poisoning: Poisoning
    rows: Tensor
    reject: float | str
    rng: Callable[..., Generator]
    save: Callable[[Mapping[str, Tensor], Mapping[str, Any]], None]
    own: OwnRows | None = None
    learned: tuple[float, ...] = ()


def context_of(trial: Trial, runtime: "TrialRuntime") -> FilteringContext:
    """What the game is handed; its filter is that of the trial's victim.

    Raises:
        ValueError: the victim has none.
    """
    filtering = trial.victim.filter
    if filtering is None:
        raise ValueError("the victim's training set goes through no filter")
    method, own = filtering.method, own_rows_in(trial, runtime)
    return FilteringContext(
        view=data_view(trial, runtime),
        score=partial(catalog.find("filters", method.name), **method.params),
        poisoning=runtime.poisoning(unfiltered(trial.victim)),
        rows=untrusted(trial, runtime),
        reject=filtering.reject,
        rng=runtime.rng(trial),
        save=partial(runtime.artifacts.save, trial.id),
        own=own.rows if own else None,
        learned=learned(trial, runtime) if own else (),
    )


def kept_of(poisoning: Poisoning, kept: Tensor) -> Poisoning:
    """The training set of the rows that are kept, and the attacks with their places in it.

    An attack of which no row is left stays, with no places: its goal is measured all the same.

    Args:
        poisoning: before; left alone.
        kept: bool (n,), one for each of its rows.

    Raises:
        ValueError: the mask is of another training set.
        SpecError: no row is kept.
    """
    train = poisoning.train
    if kept.shape != train.y.shape:
        raise ValueError(f"{len(kept)} rows were filtered, but there are {len(train)}")
    if not kept.any():
        raise SpecError("the filter removes every row: lower reject.")
    places = kept.nonzero().flatten()
    now = torch.full((len(kept),), -1, dtype=torch.int64)
    now[places] = torch.arange(len(places))
    implants = [_moved(implant, now) for implant in poisoning.implants]
    return Poisoning(train.take(places), tuple(implants))


def _moved(implant: Implant, now: Tensor) -> Implant:
    found = now[implant.places.cpu()]
    return replace(implant, places=found[found >= 0])


def check_rows(train: Images, trusted: Images) -> None:
    """Raises SpecError where no filter can work: no untrusted rows, rows of one class alone, or
    trusted images that lie among the untrusted rows too.
    """
    if not len(train):
        raise SpecError("every row is trusted, so there is nothing to filter: lower r (trusted).")
    if len(torch.unique(train.y)) < 2:
        raise SpecError(
            f"all {len(train)} untrusted rows have one class, and filters tell classes apart: give "
            "a set of two classes or more."
        )
    check_apart(train, trusted)


def check_apart(train: Images, trusted: Images, names: Sequence[str] = ()) -> None:
    """Raises SpecError for trusted images that lie among the untrusted rows too.

    Args:
        train: the untrusted rows.
        trusted: the trusted images.
        names: of the rows, where they have some.
    """
    known = set(map(_digest, trusted.x.cpu()))
    both = [i for i, x in enumerate(train.x.cpu()) if _digest(x) in known]
    if both:
        first = repr(names[both[0]]) if names else f"row {both[0]}"
        raise SpecError(
            f"{len(both)} of the untrusted rows are trusted images as well, pixel by pixel (the "
            f"first is {first}): take them out of one of the two."
        )


def _digest(x: Tensor) -> bytes:
    return hashlib.blake2b(x.contiguous().numpy().tobytes(), digest_size=16).digest()
