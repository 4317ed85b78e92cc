"""Which trials build on which: every game on a victim needs it trained, tuning needs the
self-poisoned copies.
"""

from dataclasses import replace

from trials import catalog
from trials.spec import MethodConfig, Trial, Victim


def training_of(victim: Victim) -> Trial:
    """The trial that trains a victim; every game on the victim needs it."""
    trial = Trial(
        game=MethodConfig("training"), victim=victim, method=None, trusted=0.0, seed=victim.seed
    )
    return catalog.resolve_trial(trial)


def copy_of(trial: Trial, copy: int) -> Trial:
    """The trial that makes self-poisoned copy number ``copy`` for a tuning or confirmation trial."""
    if trial.self_poisoning is None:
        raise ValueError(f"a trial of the game {trial.game.name} has no plant, so it has no copies")
    game = replace(trial.self_poisoning, params={**trial.self_poisoning.params, "copy": copy})
    return catalog.resolve_trial(
        replace(trial, game=game, method=None, self_poisoning=None, detector=None)
    )


def dependencies(trial: Trial) -> list[Trial]:
    """The trials whose artifacts this one builds on, in the order in which they can run."""
    if trial.game.name == "training":
        return []
    copies = int(trial.game.params["copies"]) if trial.self_poisoning else 0
    return [training_of(trial.victim), *(copy_of(trial, i) for i in range(copies))]
