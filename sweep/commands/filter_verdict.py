"""What ``filter`` says of its answer."""

from typing import Any

from results.comparison.filtered_sets import DELTA
from results.report.verdicts import NOT_REPAIRED
from results.selection.filter_winner import FEWEST, LEAK, FilterWinner
from results.selection.labels import percent

FILTERED = "filtered"


def said_of(chosen: FilterWinner | None, stopped: str = "") -> dict[str, Any]:
    """Verdict, exit code and sentences.

    The verdict is ``filtered``, or ``not sure`` (no filter finds enough of the defender's poison,
    or one of their attacks was not learned: of its kind nothing is known), ``not trained`` (no
    model of what is kept says what that costs), ``too costly`` (more than 2 points of accuracy),
    ``own poison left`` (a trigger of the defender's works after the last training), or ``nothing
    ran``.
    """
    verdict = _verdict(chosen)
    notes = [f"It ended early: {stopped}"] if stopped else []
    if chosen is None:
        return _told(verdict, ["No filter has finished."], notes)
    scored, filtering = chosen.scored.metrics, chosen.scored.trial.victim.filter
    assert filtering is not None
    said = [
        f"{filtering.method.name} removes {percent(scored['removed'])} % of the images, and "
        f"{percent(chosen.fpr)} % of clean ones, by trusted images that were held back."
    ]
    said.append(_found(chosen))
    if chosen.unlearned and scored["own_learned"]:
        notes.append(
            f"Nothing is known of poison like the defender's {' and '.join(chosen.unlearned)}: too "
            "little of it was learned."
        )
    if chosen.few:
        notes.append(
            f"Half or more of the rows of {' and '.join(chosen.few)} are shifted copies of few "
            "images, each of which counts once: more trusted images make that surer."
        )
    if chosen.poisoned is not None:
        notes.append(
            f"If the set's poison is found as the defender's own is, {percent(chosen.poisoned)} % "
            "of the images are poisoned."
        )
    if chosen.cost is None:
        notes.append("No model was trained on what is kept, so what that costs is not known.")
    else:
        assert chosen.trained is not None
        after = chosen.trained.metrics
        said.append(
            f"A model of what is kept gets {percent(after['cda_held'])} % of the held-back images "
            f"right, one of all images {percent(after['cda_held_before'])} %."
        )
        if after["own_left"] > LEAK:
            notes.append(
                "A trigger of the defender's works on that model, though no row of theirs was "
                "trained on: it is a weak model, or the set holds poison like it."
            )
    return _told(verdict, said, notes)


def _found(chosen: FilterWinner) -> str:
    """How much is found of the defender's own poison."""
    learned = int(chosen.scored.metrics["own_learned"])
    if not learned:
        return "None of the defender's attacks was learned, so nothing says what it finds."
    if chosen.finds:
        return (
            f"It finds at least {percent(chosen.recall)} % of each attack of the defender's that "
            f"was learned ({learned} of {len(chosen.attacks)})."
        )
    if chosen.recall >= chosen.wanted - 1e-9 and chosen.blunt:
        return (
            f"It finds {percent(chosen.recall)} % of the defender's poison, and removes "
            f"{percent(chosen.fpr)} % of clean images too: hardly better than chance."
        )
    if chosen.recall >= chosen.wanted - 1e-9 and not chosen.known:
        return "Most of the defender's attacks were not learned, so little says what it finds."
    if chosen.recall >= chosen.wanted - 1e-9:
        missed = "; ".join(_missed(chosen, attack) for attack in chosen.missed)
        return f"Not all of the defender's attacks are surely found: {missed}."
    return (
        f"Of one attack of the defender's it finds {percent(chosen.recall)} % alone, fewer than "
        f"{percent(chosen.wanted)} %: what it keeps may be poisoned."
    )


def _missed(chosen: FilterWinner, attack: str) -> str:
    """Why that attack of the defender's does not count as found."""
    if chosen.images(attack) < FEWEST:
        return (
            f"{attack} is on {chosen.images(attack):g} of their images, and fewer than {FEWEST} "
            "show nothing (more trusted images make more)"
        )
    found = percent(chosen.scored.metrics[f"own_recall/{attack}"])
    return f"of {attack} it finds {found} %, fewer than {percent(chosen.promised(attack))} %"


def _verdict(chosen: FilterWinner | None) -> str:
    if chosen is None:
        return "nothing ran"
    if not chosen.finds or chosen.unlearned:
        return "not sure"
    if chosen.trained is None or chosen.cost is None:
        return "not trained"
    if chosen.cost > DELTA + 1e-9:
        return "too costly"
    if chosen.trained.metrics["own_left"] > LEAK:
        return "own poison left"
    return FILTERED


def _told(verdict: str, said: list[str], notes: list[str]) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "exit_code": 0 if verdict == FILTERED else NOT_REPAIRED,
        "said": said,
        "notes": notes,
    }
