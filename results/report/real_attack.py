"""What copies tell of a real attack, whose trigger nobody knows: what will be left of it, and where
they tell too little; and what a repair costs where there was no attack.
"""

from results.selection.confirmation import HeldOutResult
from results.selection.forecast import INVERSION, LEVEL
from results.selection.labels import percent
from results.selection.reconstructed import family, unlearns
from results.selection.trigger_kinds import by_own_trigger, costs_given, planted, real_asr, several
from results.selection.understood import Understood
from results.selection.winners import Winner

BACK = 0.5  # ASR after tuning with five stamped images above which a repair is called shallow


def expected(w: Winner, seen: Winner | HeldOutResult) -> str:
    """Where the ASR left of the real attack is expected, or that none can be said and why."""
    found = real_asr(w, seen)
    if found is None:
        what = "reconstructed triggers" if by_own_trigger(w, seen) else "copies like these"
        why = (
            "no two kinds of trigger were planted"
            if not (by_own_trigger(w, seen) or several(w, seen))
            else f"too few pairs of {what} and real attacks are known"
        )
        return f"How much of a real attack is left cannot be forecast: {why}."
    made_from = f"{found.pairs} pairs on {found.victims} victim{'s' * (found.victims != 1)}"
    low, high = map(percent, found.interval)
    return (
        f"Of the real attack, {low} to {high} % is expected to be left"
        f" ({percent(LEVEL, 0)} % interval from {made_from})."
    )


def trained_on(w: Winner, understood: Understood | None) -> list[str]:
    """Whether the images that costs are measured on were trained on, which overstates costs; none
    where the copies' accuracy counts.
    """
    v = w.victim
    if not costs_given(w):
        return []
    if v.training.name == "given":
        right = f" (it gets {percent(understood.accuracy)} % of them right)" if understood else ""
        return [f"If the model was trained on the trusted images{right}, costs are overstated."]
    if v.reserve or "trusted" in v.dataset.params:
        return ["The model was not trained on the trusted images, by which costs are measured."]
    return [
        "The model was trained on the trusted images too, which overstates costs: reserve under "
        "[victim] keeps them out."
    ]


def spared(w: Winner, clean: HeldOutResult | None) -> list[str]:
    """What the winner costs a model that was never attacked; none where none was repaired alike."""
    if clean is None:
        return []
    models = "A model" if clean.n_models == 1 else f"The mean of {clean.n_models} models"
    beyond = f", more than Δ ({percent(w.delta)})" if clean.cda_loss > w.delta + 1e-9 else ""
    change = f"{percent(clean.cda0)} % to {percent(clean.cda)} %"
    return [
        f"{models} that {'was' if clean.n_models == 1 else 'were'} never attacked loses "
        f"{percent(clean.cda_loss)} points of clean accuracy by it{beyond} ({change}, test images)."
    ]


def inverted(w: Winner) -> list[str]:
    """The warning that belongs to a defense that inverts triggers; none for others."""
    if not unlearns(w.defense):
        return []
    tested = "by 20 to 80 points in our tests"
    if family(w.defense) != INVERSION:
        tested = f"of neural_cleanse {tested}, of {w.defense} that was not measured"
    return [
        f"{w.defense} unlearns triggers that it inverts, and a planted one is easier to invert "
        f"than a real one: copies understate what is left, {tested}."
    ]


def inverts_alone(w: Winner, seen: Winner | HeldOutResult) -> str:
    """What is not shown of a winner that unlearns triggers which it inverts."""
    which = "" if several(w, seen) else f" ({', '.join(planted(w))}; no other was tried)"
    return (
        f"removes the planted triggers{which}, by unlearning triggers that it inverts from the "
        "model: planted ones are easier to invert than an attacker's"
    )


def shallow(told: HeldOutResult | None) -> list[str]:
    """That a few stamped images bring the planted backdoors back; none where they do not, or it was
    not measured.
    """
    if told is None or told.retuned is None or told.retuned <= BACK:
        return []
    line = ""
    if told.path_share is not None:
        line = (
            f" On {percent(told.path_share, 0)} % of the line from the poisoned to the repaired "
            "weights the ASR is above 50 %."
        )
    return [
        "The repair is shallow: tuned further with five stamped images, the copies have an ASR of "
        f"{percent(told.retuned)} % again.{line}"
    ]
