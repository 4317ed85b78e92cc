"""The games that a sweep may ask for, and what goes with each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from results.selection.winners import RULES
from sweep.spec.filters import TARGETED, check_filters
from sweep.spec.recipes import check_recipes
from sweep.spec.validation import one_of
from trials import catalog
from trials.spec import SpecError, Victim

if TYPE_CHECKING:
    from sweep.spec.sweep_file import Sweep

GAMES = ("tuning", "robustness", "training", "filtering", TARGETED)
NEED_NO_DEFENSES = ("training", "filtering", TARGETED)


def check_game(sweep: "Sweep") -> None:
    """What goes with which game. Raises SpecError."""
    one_of("game", sweep.game, list(GAMES))
    one_of("tune_on", sweep.tune_on, ["each", "clean"])
    one_of("asr_of", sweep.asr_of, ["max", "mean", "min"])
    if sweep.tune_on == "clean" and all(v.attacks for v in sweep.victims):
        raise SpecError(
            'tune_on = "clean" needs a clean victim: put "none" into the list of attacks.'
        )
    if sweep.detectors and sweep.game != "tuning":
        raise SpecError(
            'detectors are given the winners\' repaired models, so they need game = "tuning".'
        )
    check_filters(sweep)
    check_recipes(sweep)
    _check_triggers(sweep.game, sweep.victims)
    # oracle reads the real attack
    rules = [r for r in RULES if r != "oracle" or sweep.game == "robustness"]
    one_of("rule", sweep.rule, rules)


def _check_triggers(game: str, victims: Sequence[Victim]) -> None:
    """Attacks without a trigger have a game of their own, and no other attack is for it."""
    for victim in victims:
        free = [a.name for a in victim.attacks if catalog.describe("attacks", a.name).triggerless]
        if game != TARGETED and free:
            raise SpecError(
                f'{free[0]} has no trigger, so no ASR: write game = "{TARGETED}", which counts the '
                "images that it misleads."
            )
        if game == TARGETED and len(free) < max(1, len(victim.attacks)):
            names = ", ".join(
                n for n in catalog.names("attacks") if catalog.describe("attacks", n).triggerless
            )
            raise SpecError(
                f'game = "{TARGETED}" takes attacks without a trigger ({names}), and makes its '
                "clean controls itself: leave all other attacks and none out."
            )
