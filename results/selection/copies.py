"""What speaks against the self-poisoned copies that a choice rests on: what self-poisoning cost,
where it failed, and where it gave way to an easier trigger.
"""

from collections.abc import Iterable, Sequence

from results.selection.configurations import of_game
from results.selection.labels import last_line, percent
from trials.spec import MethodConfig, Record, Trial

NAMED = 4  # copies that a sentence names


def doubts(records: Iterable[Record], trial: Trial, delta: float) -> tuple[str, ...]:
    """Sentences on the copies of a tuning trial's task; none where self-poisoning took and cost no
    more than Δ.

    Args:
        records: the sweep's.
        trial: one of the task's tuning trials.
        delta: clean accuracy that a defense may cost.
    """
    self_poisoning = trial.self_poisoning
    made = [
        r
        for r in of_game(records, "self_poison")
        if self_poisoning
        and r.trial.victim.id == trial.victim.id
        and r.trial.trusted == trial.trusted
        if _without_copy(r.trial.game) == _without_copy(self_poisoning)
    ]
    given = trial.game.params.get("cost", "copies") != "copies"
    return (*_dear(made, delta, given), *unplanted(made), *_given_way(made))


def unplanted(made: Iterable[Record]) -> tuple[str, ...]:
    """A sentence on the copies that no backdoor could be planted in."""
    failed = [r for r in of_game(made, "self_poison") if r.status == "failed"]
    if not failed:
        return ()
    why = (last_line(failed[0].error) or "no traceback was recorded").rstrip(".")
    return (
        f"Self-poisoning failed in {_many(len(failed), 'copy')} ({_named(failed)}), so nothing was "
        "tuned on "
        f"{'it' if len(failed) == 1 else 'them'}: {why}.",
    )


def _given_way(made: Iterable[Record]) -> tuple[str, ...]:
    """A sentence on the copies whose own kind of trigger was not learned."""
    others = [r for r in made if r.status == "done" and r.metrics.get("fallback")]
    if not others:
        return ()
    return (
        f"{_many(len(others), 'copy')} ({_named(others)}) did not learn the kind of trigger that "
        "was due, and got a patch instead: nothing is known of that kind.",
    )


def _dear(made: Sequence[Record], delta: float, given: bool) -> tuple[str, ...]:
    """That copies lost more than Δ; ``given``: what a defense costs is measured on the given model,
    not on them.
    """
    done = [r for r in made if r.status == "done" and {"cda", "cda_before"} <= r.metrics.keys()]
    cost = {r.trial.id: r.metrics["cda_before"] - r.metrics["cda"] for r in done}
    dear = sorted(
        (r for r in done if cost[r.trial.id] > delta + 1e-9), key=lambda r: -cost[r.trial.id]
    )
    if not dear:
        return ()
    which = _named(dear, [f"{percent(cost[r.trial.id])} points" for r in dear])
    then = (
        "Such copies are less like the given model."
        if given
        else "What a defense costs is counted from there, so it looks cheaper than it is."
    )
    return (
        f"Self-poisoning cost {len(dear)} of {_many(len(done), 'copy')} more clean accuracy than Δ "
        f"({percent(delta)} points)"
        f": {which}. {then}",
    )


def _named(records: Sequence[Record], extra: Sequence[str] = ()) -> str:
    names = [
        f"copy {r.trial.game.params.get('copy', 0)} of seed {r.trial.seed}" for r in records[:NAMED]
    ]
    named = [f"{name}, {said}" for name, said in zip(names, extra, strict=False)] or names
    return "; ".join(named) + (f"; and {len(records) - NAMED} more" if len(records) > NAMED else "")


def _without_copy(game: MethodConfig) -> MethodConfig:
    return MethodConfig(game.name, {k: v for k, v in game.params.items() if k != "copy"})


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what[:-1]}ies"
