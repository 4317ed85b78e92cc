"""A worker's runtime: the data, victims and copies that it keeps for its next trial, and what a
game is handed.

The two sides of the threat model are two types. A ``DefenderContext`` game gets the model, the
trusted images and the copies that the defender poisoned; an ``EvaluatorContext`` game also gets the
attack and the test set. Data filters have a ``DataView`` (and ``trials.filtering`` a context).
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, nn

from trials import catalog, splits
from trials.cache_key import Key
from trials.crafting import attacker_view, kept_in
from trials.data_views import OwnPoison, own_rows_in
from trials.dependencies import control_of, copy_of, filtering_of, training_of, unfiltered
from trials.filtering import kept_of
from trials.once import MeasuredOnce, Once
from trials.output_order import in_order
from trials.poisoning import poisoned
from trials.reconstruction import Reconstructed, kept, reconstruct
from trials.self_poisoning.layout import layout_made
from trials.spec import KIND_OF, MethodConfig, Role, Trial, Victim, derive
from trials.storage.artifacts import ArtifactStore
from trials.storage.blobs import CHECKPOINT_EVERY
from trials.storage.checkpoint import Checkpointer
from trials.types import Copy, DefenderView, Images, Inspect, Poisoning, Repair

Save = Callable[[nn.Module, Mapping[str, Any]], None]


def generator(seed: int, *stages: str | int) -> Generator:
    """A CPU generator for one stage."""
    return Generator().manual_seed(derive(seed, *stages))


@dataclass(frozen=True, slots=True)
class DefenderContext:
    """All that a game on the defender's side may use; it holds no attack and no test set.

    Attributes:
        view: the model and the trusted images.
        repair: the defense under trial, settings bound; None where the game runs none.
        inspect: the detector under trial, settings bound; None where the game runs none.
        copy: loads self-poisoned copy i.
        reconstructed: the trigger that is found in the model by descent on fit images; True for
            smooth ones too.
        once: a point that is measured once for all trials of this process with the same copies.
        rng: generator of a stage of this trial.
        save: keeps a model and facts as this trial's artifact.
        checkpointer: keeps this trial's checkpoints; None where it is not resumed.
    """

    view: DefenderView
    repair: Repair | None
    inspect: Inspect | None
    copy: Callable[[int], Copy]
    reconstructed: Callable[[bool], Reconstructed]
    once: Once
    rng: Callable[..., Generator]
    save: Save
    checkpointer: Checkpointer | None


@dataclass(frozen=True, slots=True)
class EvaluatorContext:
    """What a game that judges is handed: attack and test set too, loaded when called for.

    Attributes:
        trained: the victim, trained.
        control: the same victim trained on the clean training set, by the same seed.
        once: a point that is measured once for all trials of this process with the same victim and
            share of trusted images.
    """

    fresh: Callable[[], nn.Module]
    fit: Callable[[nn.Module, Poisoning, Generator], Any]
    poisoning: Callable[[], Poisoning]
    test: Callable[[], Images]
    view: Callable[[], DefenderView]
    trained: Callable[[], nn.Module]
    control: Callable[[], nn.Module]
    repair: Repair | None
    inspect: Inspect | None
    once: Once
    rng: Callable[..., Generator]
    save: Save
    attacked: bool
    own: Callable[[], OwnPoison | None]
    device: str


class TrialRuntime:
    """Where trials run in one process: a device, an artifacts folder, and what is kept warm between
    trials.

    Args:
        artifacts: what trials leave for others.
        device: torch's name of it.
        checkpoint: seconds between two checkpoints of a trial, and before its first.
    """

    def __init__(
        self, artifacts: ArtifactStore, device: str = "cpu", checkpoint: float = CHECKPOINT_EVERY
    ) -> None:
        self.artifacts, self.device, self._checkpoint = artifacts, device, checkpoint
        self.images = functools.lru_cache(4)(self._images)
        self._victim = functools.lru_cache(4)(self._load_victim)
        self._copy = functools.lru_cache(8)(self._load_copy)
        self._trusted = functools.lru_cache(4)(self._draw_trusted)
        self._reconstructed = functools.lru_cache(4)(self._reconstruct)
        self._measured = MeasuredOnce()

    def checkpointer(self, trial: Trial, provenance: Mapping[str, str]) -> Checkpointer:
        """A trial's checkpoints, beside the artifacts."""
        return Checkpointer(self.artifacts.files, trial.id, self._checkpoint, provenance)

    def defender(self, trial: Trial, checkpointer: Checkpointer | None = None) -> DefenderContext:
        model, trusted = self._victim(Key(trial.victim)), self.trusted(trial)
        view = DefenderView(model, trusted.to(self.device))
        return DefenderContext(
            view=view,
            repair=_in_role("defense", trial),
            inspect=_in_role("detector", trial),
            copy=functools.partial(self.copy, trial),
            reconstructed=lambda smooth: self._reconstructed(
                Key(trial.victim), trial.trusted, trial.seed, smooth
            ),
            once=self._measured.of(lambda: (copy_of(trial, 0).id,)),
            rng=self.rng(trial),
            save=self._save(trial),
            checkpointer=checkpointer,
        )

    def evaluator(self, trial: Trial, checkpointer: Checkpointer | None = None) -> EvaluatorContext:
        victim = trial.victim
        return EvaluatorContext(
            fresh=lambda: self.fresh(victim),
            fit=lambda *given: _bound("recipes", victim.training)(*given, checkpointer),
            poisoning=lambda: self.poisoning(victim),
            test=lambda: self.images(Key(victim.dataset), "test").to(self.device),
            view=lambda: self.defender(trial).view,
            trained=lambda: self._victim(Key(victim)),
            control=lambda: self._victim(Key(control_of(victim))),
            repair=_in_role("defense", trial),
            inspect=_in_role("detector", trial),
            once=self._measured.of(lambda: (training_of(victim).id, trial.trusted)),
            rng=self.rng(trial),
            save=self._save(trial),
            attacked=bool(victim.attacks),
            own=lambda: own_rows_in(trial, self),
            device=self.device,
        )

    def fresh(self, victim: Victim) -> nn.Module:
        """The victim's model before training, its weights drawn from the victim's seed."""
        return self.untrained(victim, derive(victim.seed, "weights"))

    def untrained(self, victim: Victim, seed: int) -> nn.Module:
        """The victim's model before training, its weights drawn from the seed."""
        train = self.images(Key(victim.dataset), "train")
        with torch.random.fork_rng(devices=[]):
            # so that loading a model does not change what the trial draws next
            torch.default_generator.manual_seed(seed)
            model: nn.Module = _bound("models", victim.model)(train.logits, train.x.shape[-1])
        if train.outputs:
            in_order(model, train.outputs)
        model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    def poisoning(self, victim: Victim) -> Poisoning:
        """The training set with the victim's attacks in it; for a clean victim, the clean set; of a
        filtered one, the rows that its filter kept.

        Raises:
            SpecError: m or the target of an attack is out of range, or too few images are left.
        """
        view_of = functools.partial(attacker_view, self, unfiltered(victim))
        whole = poisoned(
            self.trainable(victim), victim.attacks, victim.seed, view_of, victim.overlap
        )
        if victim.filter is None:
            return whole
        tensors, _ = self._artifact(filtering_of(victim), "filter's verdict")
        return kept_of(whole, tensors["kept"])

    def trusted(self, trial: Trial) -> Images:
        """The defender's images: clean, drawn from the reserve, or else from the unpoisoned
        training images.

        The same for every seed of a trial, as a defender has one set of them.
        """
        return self._trusted(Key(trial.victim), trial.trusted)

    def _draw_trusted(self, key: "Key", r: float) -> Images:
        victim: Victim = key.value
        if "trusted" in victim.dataset.params:
            return self.images(Key(victim.dataset), "trusted")
        return self.images(Key(victim.dataset), "train").take(self.trusted_places(victim, r))

    def trusted_places(self, victim: Victim, r: float) -> torch.Tensor:
        """Where the trusted images lie among the data set's training images, filtered or not."""
        victim, whole = unfiltered(victim), self.images(Key(victim.dataset), "train")
        banned = (
            self._trained_on(victim, whole) if victim.reserve else self.poisoning(victim).places
        )
        return splits.draw_trusted(whole, r, banned, generator(victim.seed, "trusted"))

    def copy(self, trial: Trial, index: int) -> Copy:
        """Self-poisoned copy ``index`` of a tuning trial, from its artifact."""
        return self._copy(Key(copy_of(trial, index)))

    def _images(self, dataset: "Key", split: str) -> Images:
        config = dataset.value.as_stored
        images: Images = catalog.find("datasets", config.name)(split, **config.params)
        return images

    def _trained_on(self, victim: Victim, whole: Images) -> torch.Tensor:
        """Places that are trained on: all but the reserve."""
        order = splits.stratified_order(
            whole.y, torch.arange(len(whole)), generator(victim.seed, "reserve")
        )
        return order[round(victim.reserve * len(whole)) :].sort().values

    def trainable(self, victim: Victim) -> Images:
        """The clean training set: all training images but the reserve."""
        whole = self.images(Key(victim.dataset), "train")
        return whole.take(self._trained_on(victim, whole)) if victim.reserve else whole

    def trained(self, victim: Victim) -> nn.Module:
        """The victim's model after its training, in eval mode; shared, so it is left alone."""
        return self._victim(Key(victim))

    def _load_victim(self, key: "Key") -> nn.Module:
        model = self.fresh(key.value)
        tensors, _ = self._artifact(training_of(key.value), "victim")
        model.load_state_dict(tensors)
        return model.eval().requires_grad_(False)

    def _load_copy(self, key: "Key") -> Copy:
        trial: Trial = key.value
        model = self.fresh(trial.victim)
        tensors, facts = self._artifact(trial, "self-poisoned copy")
        model.load_state_dict(tensors)
        plan = layout_made(self.trusted(trial), self.rng(trial), trial.game, facts)
        model.eval().requires_grad_(False)
        return Copy(model, plan.kind, plan.goal, plan.fit, plan.select, plan.report, facts)

    def _reconstruct(self, key: "Key", r: float, seed: int, smooth: bool) -> Reconstructed:
        victim: Victim = key.value
        trusted = self._trusted(key, r)
        fit, _, _ = splits.cut(trusted.y, 0, 1, generator(victim.seed, "split"))
        images = trusted.take(fit).to(self.device)
        scope = {"victim": victim.identity(), "trusted": r, "seed": seed}
        return kept(
            kept_in(self.artifacts, scope),
            lambda: reconstruct(self._victim(key), images, generator(seed, "reconstruct"), smooth),
            smooth,
        )

    def _artifact(self, trial: Trial, what: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        if not self.artifacts.has(trial.id):
            raise LookupError(
                f"the {what} {trial.id} is not there: its trial failed, or its artifact was deleted"
            )
        return self.artifacts.load(trial.id)

    def rng(self, trial: Trial) -> Callable[..., Generator]:
        """Generators of a trial's stages.

        The trusted images are cut alike for every seed: else one seed's report images would choose
        in another.
        """
        return lambda *stages: generator(
            trial.victim.seed if stages == ("split",) else trial.seed, *stages
        )

    def _save(self, trial: Trial) -> Save:
        key = trial.id
        return lambda model, facts: self.artifacts.save(key, model.state_dict(), facts)


def _bound(kind: str, config: MethodConfig) -> Callable[..., Any]:
    function = catalog.find(kind, config.name)
    return functools.partial(function, **config.params)


def _in_role(role: Role, trial: Trial) -> Callable[..., Any] | None:
    """The method that the trial has in that role, settings bound; None where it has none."""
    method = trial.roles.get(role)
    return _bound(KIND_OF[role], method) if method else None
