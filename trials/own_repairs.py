"""What the game is handed that tries a repair against the defender's own poison: the model of what
a filter keeps of the set with that poison in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from torch import Generator, Tensor, nn

from trials import catalog
from trials.crafting import fitted_by, kept_in
from trials.data_views import learned, own_rows_in
from trials.dependencies import filtering_of
from trials.filtering import OWN_FOUND
from trials.self_poisoning.own_rows import OwnRows, joined
from trials.spec import MethodConfig, SpecError, Trial
from trials.types import DefenderView, Poisoning, Repair

if TYPE_CHECKING:
    from trials.runtime import TrialRuntime


@dataclass(frozen=True, slots=True)
class OwnRepairContext:
    """What the game is handed; no attacker's places are in it.

    Attributes:
        view: the model trained on the rows that the filter keeps, those of the defender's that it
            missed among them, and the trusted images that the filter had.
        repair: the defense under trial, settings bound.
        own: the defender's poison.
        learned: ASR of each of the defender's attacks in the model that was trained with them all.
        before: loads the model that was trained on all rows, without the defender's.
        device: of the models.
        rng: generator of a stage of this trial.
    """

    view: DefenderView
    repair: Repair
    own: OwnRows
    learned: tuple[float, ...]
    before: Callable[[], nn.Module]
    device: str
    rng: Callable[..., Generator]


def own_repair_context(trial: Trial, runtime: "TrialRuntime") -> OwnRepairContext:
    """What the game is handed; the model is trained once for all repairs of it.

    Raises:
        SpecError: the victim's filter was not set by poison of the defender's own.
        ValueError: the trial runs no defense.
    """
    own, method = own_rows_in(trial, runtime), trial.method
    if own is None:
        raise SpecError("the defender puts no poison into the victim's training set.")
    if method is None:
        raise ValueError("the trial runs no defense")
    repair = partial(catalog.find("defenses", method.name), **method.params)
    return OwnRepairContext(
        view=DefenderView(_model(trial, runtime, own.rows), own.rows.probes.to(runtime.device)),
        repair=repair,
        own=own.rows,
        learned=learned(trial, runtime),
        before=own.before,
        device=runtime.device,
        rng=runtime.rng(trial),
    )


def _model(trial: Trial, runtime: "TrialRuntime", own: OwnRows) -> nn.Module:
    victim = trial.victim
    keep = kept_in(runtime.artifacts, {"victim": victim.identity()})

    def made() -> Mapping[str, Tensor]:
        found, _ = runtime.artifacts.load(filtering_of(victim).id)
        if OWN_FOUND not in found:
            raise SpecError(
                "an earlier version scored these images, and left out which of the defender's rows "
                "are found: name another --out."
            )
        kept = runtime.poisoning(victim)
        missed = own.rows.take(~found[OWN_FOUND])
        whole = Poisoning(joined((kept.train, missed)), kept.implants)
        recipe: MethodConfig = victim.training
        fit = fitted_by(partial(catalog.find("recipes", recipe.name), **recipe.params))
        trained = fit(runtime.fresh(victim), whole, runtime.rng(trial)("own training"))
        return trained.state_dict()

    model = runtime.fresh(victim)
    model.load_state_dict(keep("the model of kept rows and of own poison that was missed", made))
    return model.eval().requires_grad_(False)
