"""What a data filter is handed of a victim's training set: the rows that are not trusted, with the
defender's own poison among them where the trial asks for it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn

from trials import catalog
from trials.crafting import fitted_by, kept_in
from trials.dependencies import own_rows_of, unfiltered
from trials.self_poisoning.own_rows import OwnRows, joined, own_rows
from trials.spec import MethodConfig, SpecError, Trial, Victim
from trials.types import Images, Poisoning
from trials.views import DataView

if TYPE_CHECKING:
    from trials.runtime import TrialRuntime

Fitting = Callable[[nn.Module, Images, Generator], Iterator[tuple[int, int, float]]]


@dataclass(frozen=True, slots=True)
class OwnPoison:
    """The defender's own poison, and the model that was trained on all rows without it."""

    rows: OwnRows
    before: Callable[[], nn.Module]


@dataclass(frozen=True, slots=True)
class SelfPoisonDataContext:
    """What the game that poisons a training set is handed; no attack's places are in it.

    Attributes:
        trusted: the defender's images, of which no row is one.
        n: rows of the training set.
        fresh: the victim's model before training.
        fit: trains it, by the victim's recipe, on the rows and those of the defender's after them.
        device: of the model.
        rng: generator of a stage of this trial.
        save: keeps the model and facts as this trial's artifact.
    """

    trusted: Images
    n: int
    fresh: Callable[[], nn.Module]
    fit: Fitting
    device: str
    rng: Callable[..., Generator]
    save: Callable[[nn.Module, dict[str, Any]], None]


def data_view(trial: Trial, runtime: "TrialRuntime", ahead: bool = False) -> DataView:
    """All that the data filter of the trial's victim may see.

    Args:
        trial: of the game ``filtering``.
        runtime: that loads its data.
        ahead: before anything was trained, so that of the defender's poison the first draws are
            taken, whether they will be learned or not.
    """
    victim = unfiltered(trial.victim)
    train, trusted = runtime.poisoning(victim).train, runtime.trusted(trial)
    scope = {"victim": victim.identity(), "trusted": trial.trusted, "seed": trial.seed}
    view = DataView(
        train=train.take(untrusted(trial, runtime)).to(runtime.device),
        trusted=trusted.to(runtime.device),
        fresh=lambda seed: runtime.untrained(victim, seed),
        fit=fitted_by(_recipe(victim)),
        trained=lambda: runtime.trained(victim),
        keep=kept_in(runtime.artifacts, scope),
    )
    own = own_rows_in(trial, runtime, ahead)
    if own is None:
        return view
    return replace(
        view,
        train=own.rows.among(view.train),
        trusted=own.rows.probes.to(runtime.device),
        trained=lambda: _trained_on_own(trial.victim, runtime),
        keep=kept_in(runtime.artifacts, {**scope, "plant": own_rows_of(trial.victim).id}),
    )


def untrusted(trial: Trial, runtime: "TrialRuntime") -> Tensor:
    """int64 (n,), places in the victim's unfiltered training set of what is not trusted: all of it
    where the trusted images come from the reserve, or from outside of the set.
    """
    victim = unfiltered(trial.victim)
    rows = torch.ones(len(runtime.poisoning(victim).train), dtype=torch.bool)
    if not apart(victim):
        rows[runtime.trusted_places(victim, trial.trusted)] = False
    return rows.nonzero().flatten()


def own_rows_in(trial: Trial, runtime: "TrialRuntime", ahead: bool = False) -> OwnPoison | None:
    """The defender's poison in the training set of the trial's victim; None where there is none.

    It is that of the model that was trained with it, or, ``ahead`` of that, its first draws.
    """
    filtering = trial.victim.filter
    if filtering is None or filtering.self_poisoning is None:
        return None
    context = self_poison_data_context(own_rows_of(trial.victim), runtime)
    settings = _settings(trial.victim)
    del settings["redraws"]
    redrawn = () if ahead else tuple(_facts_of_own(trial, runtime).get("redrawn", ()))
    rows = own_rows(context.trusted, context.n, context.rng, **settings, redrawn=redrawn)
    return OwnPoison(rows, lambda: runtime.trained(unfiltered(trial.victim)))


def learned(trial: Trial, runtime: "TrialRuntime") -> tuple[float, ...]:
    """ASR of each of the defender's attacks in the model that was trained with them."""
    return tuple(_facts_of_own(trial, runtime)["asr"])


def _facts_of_own(trial: Trial, runtime: "TrialRuntime") -> Mapping[str, Any]:
    _, facts = runtime.artifacts.load(own_rows_of(trial.victim).id)
    return facts


def self_poison_data_context(trial: Trial, runtime: "TrialRuntime") -> SelfPoisonDataContext:
    """What the game is handed.

    Raises:
        SpecError: the model would be trained on trusted images.
    """
    victim = trial.victim
    if not apart(victim):
        raise SpecError(
            "self_poisoning of a training set needs trusted images that no training sees: set "
            "reserve in [victim], to trusted (r) or more."
        )
    poisoning = runtime.poisoning(victim)

    def fit(model: nn.Module, images: Images, rng: Generator) -> Iterator[tuple[int, int, float]]:
        train = joined((poisoning.train, images))
        return iter(_recipe(victim)(model, Poisoning(train, poisoning.implants), rng))

    return SelfPoisonDataContext(
        trusted=runtime.trusted(trial),
        n=len(poisoning.train),
        fresh=lambda: runtime.fresh(victim),
        fit=fit,
        device=runtime.device,
        rng=runtime.rng(trial),
        save=lambda model, facts: runtime.artifacts.save(trial.id, model.state_dict(), facts),
    )


def apart(victim: Victim) -> bool:
    """Whether no training sees the trusted images."""
    return bool(victim.reserve) or "trusted" in victim.dataset.params


def _settings(victim: Victim) -> dict[str, Any]:
    return dict(own_rows_of(victim).game.params)


def _trained_on_own(victim: Victim, runtime: "TrialRuntime") -> nn.Module:
    model = runtime.fresh(unfiltered(victim))
    tensors, _ = runtime.artifacts.load(own_rows_of(victim).id)
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)


def _recipe(victim: Victim) -> Callable[..., Any]:
    recipe: MethodConfig = victim.training
    return partial(catalog.find("recipes", recipe.name), **recipe.params)
