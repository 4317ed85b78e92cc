"""What is said of a given model that ``defend`` was asked to repair: one named verdict, and the
sentences for it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from results.report import own_trigger, real_attack
from results.report.own_accuracy import Own, cost_of, images_of
from results.selection.configurations import of_game
from results.selection.confirmation import HeldOutResult
from results.selection.copies import unplanted
from results.selection.labels import last_line, percent
from results.selection.reconstructed import unlearns
from results.selection.trigger_kinds import costs_given, planted, several, weak, worst
from results.selection.understood import Understood
from results.selection.winners import CONTROLS, REPAIRED, Winner
from trials.self_poisoning import MIXED
from trials.spec import Record

Removed = Literal["repaired", "one kind alone", "own trigger alone", "inverted triggers alone"]
Shown = Literal[Removed, "not repaired", "too costly"]
Verdict = Literal[Shown, "do nothing", "only controls ran", "nothing ran"]
REMOVED: tuple[Removed, ...] = get_args(Removed)
NOT_REPAIRED = 3  # the command's exit code for all but "repaired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a defense's tuning trials."""

    defense: str
    done: int
    failed: int
    why: str  # the last line of the first failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A winner that was passed over, for what it does to the given model."""

    defense: str
    eta: float  # ASR that it leaves on the copies' select images
    cost: float | None  # clean accuracy that it costs the given model; None: it diverged


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was done to a given model: the winner that was applied, and what was found besides."""

    winner: Winner | None  # None: nothing could be tuned
    own: Own | None  # None where there is no winner
    passed_over: tuple[Passed, ...]
    asked: tuple[str, ...]  # defenses of the sweep
    stopped: str = ""  # why tuning ended before all of it had run
    understood: Understood | None = None

    @property
    def diverged(self) -> list[str]:
        return [p.defense for p in self.passed_over if p.cost is None]

    @property
    def unbearable(self) -> Passed | None:
        """Where the model is left alone: the defense that leaves the least on the copies, and would
        have helped.
        """
        if self.winner is None:
            return None
        helped = [
            p for p in self.passed_over if p.defense not in CONTROLS and p.eta < self.winner.eta
        ]
        return min(helped, key=lambda p: p.eta, default=None)


def fates(records: Iterable[Record], asked: Sequence[str]) -> list[Fate]:
    """What became of each defense that was asked for, or has run."""
    found = []
    tuned = of_game(records, "tuning")
    for defense in dict.fromkeys([*asked, *(r.trial.method.name for r in tuned if r.trial.method)]):
        mine = [r for r in tuned if r.trial.method and r.trial.method.name == defense]
        failed = [r for r in mine if r.status == "failed"]
        why = (last_line(failed[0].error) or "no traceback was recorded") if failed else ""
        done = sum(r.status == "done" for r in mine)
        found.append(Fate(defense=defense, done=done, failed=len(failed), why=why))
    return found


def verdict_of(
    applied: Applied, seen: Winner | HeldOutResult | None, records: Iterable[Record]
) -> Verdict:
    """The verdict; ``seen`` is the winner as far as it was confirmed."""
    ran = [f.defense for f in fates(records, applied.asked) if f.done]
    w, own = applied.winner, applied.own
    if w is None and applied.diverged:
        return "too costly"
    if w is None or own is None or seen is None or not [d for d in ran if d != "none"]:
        return "nothing ran"
    if _defenses(applied.asked) and not _defenses(ran):
        return "only controls ran"
    if left_alone(w, seen):
        return "too costly" if applied.unbearable else "do nothing"
    return judged(w, seen, own)


def judged(
    w: Winner, seen: Winner | HeldOutResult, own: Own | None = None, *, known: bool = False
) -> Shown:
    """What a winner's own numbers show, where it changes something; ``own`` of a given model that
    it was applied to, which says what that costs; ``known``: the real attack was judged.
    """
    if (worst(seen) > REPAIRED and not own_trigger.removed(seen)) or own_trigger.left(seen):
        return "not repaired"
    if not borne(w, seen, own):
        return "too costly"
    if worst(seen) > REPAIRED:
        return "own trigger alone"
    if unlearns(w.defense) and not known:
        return "inverted triggers alone"
    return "repaired" if several(w, seen) else "one kind alone"


def borne(w: Winner, seen: Winner | HeldOutResult, own: Own | None) -> bool:
    """Whether it costs the model that comes out at most Δ, and the copies where these stand for
    it.
    """
    costs = [own.cost] if own else []
    if own is None or not costs_given(w):
        costs.append(seen.cda_loss)
    return max(costs) <= w.delta + 1e-9


def idle(winner: Winner | None) -> bool:
    """True where the choice is to leave the model as it is, so that no weights are written."""
    return winner is None or winner.defense == "none" or winner.step == 0


def left_alone(winner: Winner | None, seen: Winner | HeldOutResult | None) -> bool:
    """True where the choice changes nothing, or leaves as much of every trigger as there was."""
    if idle(winner) or seen is None:
        return True
    return seen.eta >= seen.asr0 and not own_trigger.less(seen)


def headline(verdict: Verdict, applied: Applied, seen: Winner | HeldOutResult | None) -> str:
    """One or two sentences: the verdict, and this model's own accuracy before and after."""
    w, own = applied.winner, applied.own
    if w is None or own is None or seen is None:
        why = (
            "every defense that ran diverged on this model"
            if applied.diverged
            else "no defense ran"
        )
        return f"Not repaired: {why}. No weights were written."
    if verdict in ("nothing ran", "do nothing") or left_alone(w, seen):
        why = _left_as_it_was(verdict, applied, w)
        kept = f"this model's own clean accuracy is {percent(own.before)} %, on {images_of(own)}"
        return f"{why} No weights were written; {kept}."
    change = f"went from {percent(own.before)} to {percent(own.after)} % ({cost_of(own)})"
    done = f"{_applied(verdict, w, seen)}: this model's own clean accuracy {change}"
    said = f"{done}, on {images_of(own)}."
    return f"{said} {several_kinds_hint(w)}" if verdict == "one kind alone" else said


def alone(w: Winner, seen: Winner | HeldOutResult) -> str:
    """That one kind of trigger was planted, and which."""
    works = [kind for kind in planted(w) if kind not in weak(seen)]
    if len(planted(w)) > 1:
        return f"the one planted kind of trigger that worked ({', '.join(works) or 'none'})"
    return f"the one kind of trigger that was planted ({planted(w)[0]}); no other was tried"


def several_kinds_hint(w: Winner) -> str:
    """What to write so that copies carry several kinds of trigger."""
    if len(planted(w)) > 1:
        return "To plant the others so that they work, raise reach under [self_poisoning]."
    params = w.trial.self_poisoning.params if w.trial.self_poisoning else {}
    attack = "" if params.get("attack") == MIXED else 'attack = "mixed" under [self_poisoning] and '
    return f"To plant several, write {attack}copies = 3 or more under [tuning]."


def _left_as_it_was(verdict: Verdict, applied: Applied, w: Winner) -> str:
    """Why the given model was not touched."""
    if verdict == "nothing ran":
        return "Not repaired: no defense ran."
    if verdict == "only controls ran":
        return "Not repaired: no defense ran, only controls."
    if verdict == "too costly" and (best := applied.unbearable):
        cost = "diverges on this model"
        if best.cost is not None:
            cost = (
                f"costs this model {percent(best.cost)} points of clean accuracy, more than the "
                f"{percent(w.delta)} allowed"
            )
        left = f"{best.defense} leaves an ASR of {percent(best.eta)} % on planted backdoors"
        return f"Not repaired within Δ: {left}, but {cost}."
    return "Not repaired: no defense was better than leaving the model alone."


def _applied(verdict: Verdict, w: Winner, seen: Winner | HeldOutResult) -> str:
    """What was applied to the given model, and with what success."""
    what = f"{w.defense}, stopped at step {w.step},"
    if verdict == "only controls ran":
        return f"Not repaired: no defense ran, only controls. Of those {what} was applied"
    if verdict == "not repaired":
        return f"Not repaired: the best, {what} leaves {own_trigger.leaves(seen)}"
    if verdict == "too costly":
        allowed = f"the {percent(w.delta)} points allowed"
        return f"Not repaired within Δ: {what} costs more clean accuracy than {allowed}"
    if verdict == "one kind alone":
        return f"Not shown to be repaired: {what} removes {alone(w, seen)}"
    if verdict == "own trigger alone":
        return f"Not shown to be repaired: {what} {own_trigger.alone(seen)}"
    if verdict == "inverted triggers alone":
        return f"Not shown to be repaired: {what} {real_attack.inverts_alone(w, seen)}"
    return f"Repaired with {w.defense}, stopped at step {w.step}"


def notes(
    verdict: Verdict,
    applied: Applied,
    seen: Winner | HeldOutResult | None,
    records: Sequence[Record],
) -> list[str]:
    """What else has to be said of it."""
    w, own = applied.winner, applied.own
    found = [f"Tuning ended before all of it had run: {applied.stopped}"] if applied.stopped else []
    no_turn = []
    for f in fates(records, applied.asked):
        if f.failed and not f.done:
            why = f"{_all(f.failed)} failed, with {f.why.rstrip('.')}"
            found.append(f"{f.defense} finished no trial: {why}.")
        elif not f.done:
            no_turn.append(f.defense)
    if no_turn:
        found.append(f"Not tried, or not to the end: {', '.join(no_turn)}.")
    if w is None:
        found += unplanted(records)
    if w and own and seen and not left_alone(w, seen):
        found += _of_what_was_applied(verdict, w, own, seen)
    return [*found, *_passed_over(applied)]


def _of_what_was_applied(
    verdict: Verdict, w: Winner, own: Own, seen: Winner | HeldOutResult
) -> Iterator[str]:
    allowed, delta = w.delta + 1e-9, percent(w.delta)
    if own.cost > allowed:
        yield (
            f"It costs this model {percent(own.cost)} points of clean accuracy, more than Δ "
            f"({delta}): do not use it before you have tuned further."
        )
    if seen.cda_loss > allowed and not costs_given(w):
        yield f"It costs the copies {percent(seen.cda_loss)} points, more than Δ ({delta})."
    low, high = own.cost_interval
    if low <= w.delta < high and verdict in (*REMOVED, "too costly"):
        yield (
            f"{images_of(own)} are too few to tell whether it costs more or less than Δ ({delta})."
        )
    if verdict in ("not repaired", "only controls ran"):
        yield (
            "The weights were written all the same: whoever uses them must expect a backdoor in "
            "them."
        )
    if verdict in ("one kind alone", "inverted triggers alone"):
        which = "of another kind" if verdict == "one kind alone" else "that it did not find"
        yield f"The weights were written: a trigger {which} may still work on them."
    if verdict == "own trigger alone":
        yield (
            "The weights were written. The trigger was reconstructed without knowing the attack: "
            "one that it does not show, such as a faint picture or a warp, may still work on them."
        )


def _passed_over(applied: Applied) -> Iterator[str]:
    if applied.diverged:
        diverged = ", ".join(applied.diverged)
        yield f"Passed over, because they diverged on the given model: {diverged}."
    costs = {p.defense: p.cost for p in applied.passed_over if p.cost is not None}
    if costs:
        named = ", ".join(f"{name} ({percent(cost)} points)" for name, cost in costs.items())
        yield f"Passed over, because they cost the given model more accuracy than Δ: {named}."


def _defenses(names: Sequence[str]) -> list[str]:
    return [n for n in names if n not in CONTROLS]


def _all(n: int) -> str:
    return "its only trial" if n == 1 else f"all {n} trials"
