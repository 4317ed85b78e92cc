"""What decided a record, in words and numbers, for tools that list runs."""

from results.selection.labels import attack
from trials.spec import Record, Scalar


def settings_of(record: Record) -> dict[str, Scalar]:
    """Game, data set, model, attack, share of trusted images, seed, defense and its settings."""
    trial, victim = record.trial, record.trial.victim
    method = {"defense": trial.method.name, **trial.method.params} if trial.method else {}
    return {
        "game": trial.game.name,
        "dataset": victim.dataset.name,
        "model": victim.model.name,
        "attack": attack(victim),
        "trusted": trial.trusted,
        "seed": trial.seed,
        **method,
    }
