"""What decided a record, in words and numbers, for tools that list runs."""

from results.selection.labels import attack
from trials.spec import Filtering, MethodConfig, Record, Scalar, Victim


def settings_of(record: Record) -> dict[str, Scalar]:
    """Game, data set, model, attack, training, share of trusted images, seed, defense and its
    settings; then those of the game, the data set, the model, the training, the filter, the
    detector and the self-poisoning, as ``training.epochs``.
    """
    trial, victim = record.trial, record.trial.victim
    method = {"defense": trial.method.name, **trial.method.params} if trial.method else {}
    given = {"self_poisoning": trial.self_poisoning, "detector": trial.detector}
    roles = {role: config for role, config in given.items() if config}
    found: dict[str, Scalar] = {
        "game": trial.game.name,
        "dataset": victim.dataset.name,
        "model": victim.model.name,
        "attack": attack(victim),
        "training": victim.training.name,
        "trusted": trial.trusted,
        "seed": trial.seed,
        **{role: config.name for role, config in roles.items()},
        **method,
    }
    for role, config in {"game": trial.game, **parts_of(victim), **roles}.items():
        found |= under(role, config)
    return found | (_of_filter(victim.filter) if victim.filter else {})


def parts_of(victim: Victim) -> dict[str, MethodConfig]:
    """The victim's data set, model and training."""
    return {"dataset": victim.dataset, "model": victim.model, "training": victim.training}


def _of_filter(given: Filtering) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {"filter": given.method.name, **under("filter", given.method)}
    found |= {"filter.reject": given.reject, "filter.trusted": given.trusted}
    found |= {"filter.seed": given.seed}
    found |= {f"filter.threshold.{k}": v for k, v in given.threshold.items()}
    return found | (under("filter.own", given.self_poisoning) if given.self_poisoning else {})


def under(name: str, config: MethodConfig) -> dict[str, Scalar]:
    """The settings of a method, each as ``name.setting``."""
    return {f"{name}.{k}": v for k, v in config.params.items()}
