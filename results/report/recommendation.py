"""What a defender should do, in a few plain sentences, with what speaks against believing them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from results.report import own_trigger, real_attack, rivals, verdicts
from results.report.own_accuracy import Own, cost_of, images_of
from results.report.verdicts import Applied, left_alone
from results.selection import untouched
from results.selection.confirmation import HeldOutResult, confirmed, frozen, on_clean, pooled
from results.selection.copies import doubts
from results.selection.labels import attack, percent, percents, value
from results.selection.trigger_kinds import (
    AGREE,
    OfKind,
    by_kind,
    costs_given,
    of_own_trigger,
    weak,
)
from results.selection.untouched import sure, within
from results.selection.winners import CONTROLS, REPAIRED, Winner, best
from results.stats.intervals import wilson
from trials.spec import Record

COPIES_ALONE = "This counts what copies lose, not what the given model itself does."
MADE_BY_DEFEND = (
    "What `defend` made of the given model stands in the choice.json and report.html that it wrote."
)
MANY = 3  # attacked victims up to which each is told of by itself
Verdict = verdicts.Verdict | Literal["not the real"]
_SHOWN = verdicts.REMOVED  # on the copies, or of the given model


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one task's question; all texts are plain, not HTML."""

    where: str
    verdict: Verdict
    headline: str
    sentences: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str, str], ...]  # name, number, how sure
    cautions: tuple[str, ...]
    winner: Winner
    by_kind: tuple[OfKind, ...]  # what is left of each kind of trigger, where there are several


def answer(
    where: str, winners: Sequence[Winner], records: Iterable[Record], applied: Applied | None = None
) -> Answer | None:
    """The answer for one task's winners; None where nothing finished.

    A confirmed number goes before a chosen one.
    """
    w = applied.winner if applied else best(winners)
    if w is None:
        return None
    records = records if isinstance(records, list) else list(records)  # with its index, if any
    told, real = confirmed(w, records), frozen(w, records)
    seen = told or w
    left = left_alone(w, seen)
    if applied:
        given = verdicts.verdict_of(applied, seen, records)
        verdict: Verdict = given
        headline = verdicts.headline(given, applied, seen)
        notes = verdicts.notes(given, applied, seen, records)
    else:
        own, notes = any(j.victim == w.victim for j in real), []
        verdict = "do nothing" if left else verdicts.judged(w, seen, known=own)
        if verdict in _SHOWN and any(j.eta > REPAIRED for j in real):
            verdict = "not the real"
        headline = _headline(verdict, w, seen)
    if left:
        sentences = [untouched.expect(seen), *untouched.reals(real, MANY)]
    else:
        expected = _expect(w, seen, told is not None)
        spared = real_attack.spared(w, on_clean(w, records))
        cost = real_attack.trained_on(w, applied.understood if applied else None)
        sentences = [expected, *cost, real_attack.expected(w, seen), *_reals(real), *spared]
    return Answer(
        where=where,
        verdict=verdict,
        headline=headline,
        sentences=tuple(sentences),
        settings=() if left else tuple((k, value(v)) for k, v in w.method.params.items()),
        facts=(
            *_own(applied.own if applied else None, left, w.delta),
            *_facts(w, seen, applied is not None),
        ),
        cautions=(
            *notes,
            *(of_given(w) if not applied else []),
            *([] if left else [*real_attack.inverted(w), *real_attack.shallow(told)]),
            *rivals.behind(w, winners),
            *doubts(records, w.trial, w.delta),
            *_weak(seen),
            *_cautions(w, seen, told, real, applied, _borne(winners, applied)),
        ),
        winner=w,
        by_kind=tuple(by_kind(w, seen)) if len(seen.kinds) >= AGREE else (),
    )


def of_given(w: Winner) -> list[str]:
    """Where to look for what became of a given model; none for a victim that a sweep made."""
    if w.victim.training.name != "given":
        return []
    return [*([] if costs_given(w) else [COPIES_ALONE]), MADE_BY_DEFEND]


def _headline(verdict: Verdict, w: Winner, seen: Winner | HeldOutResult) -> str:
    if verdict == "do nothing":
        return "No defense was better than leaving the model alone."
    if verdict == "repaired":
        return f"Use {w.defense} and stop at step {w.step}."
    if verdict == "not the real":
        what = f"{w.defense}, stopped at step {w.step},"
        return f"{what} repairs the planted backdoors but not the real attack."
    if verdict == "one kind alone":
        removed = f"{w.defense}, stopped at step {w.step}, removes {verdicts.alone(w, seen)}."
        return f"{removed} {verdicts.several_kinds_hint(w)}"
    if verdict == "own trigger alone":
        return f"{w.defense}, stopped at step {w.step}, {own_trigger.alone(seen)}."
    if verdict == "inverted triggers alone":
        return f"{w.defense}, stopped at step {w.step}, {real_attack.inverts_alone(w, seen)}."
    best_of = f"The best, {w.defense} stopped at step {w.step},"
    if verdict == "not repaired":
        return f"No defense repaired the model. {best_of} still leaves {own_trigger.leaves(seen)}."
    cost = f"{best_of} costs {percent(seen.cda_loss)} points of clean accuracy."
    return f"No defense repaired the model within Δ. {cost}"


def _expect(w: Winner, seen: Winner | HeldOutResult, told: bool) -> str:
    where = (
        "on images that had no part in the choice"
        if told
        else "on the very images that it was chosen by, so expect a little worse"
    )
    change = "costs" if seen.cda_loss >= 0 else "gains"
    whose = "the model itself, repaired on its fit images, " if costs_given(w) else ""
    on = "On copies of the model that carry a planted backdoor"
    before = seen.asr0
    if of_own_trigger(w, seen):
        on = "On the model itself, with the trigger that was reconstructed from it"
        before = seen.reconstructed0 or 0.0
    return (
        f"{on}, it takes the attack success rate from "
        f"{percent(before)} % to {percent(seen.eta)} %{within(seen)} and {change} {whose}"
        f"{percent(abs(seen.cda_loss))} "
        f"points of clean accuracy ({percent(seen.cda0)} % to {percent(seen.cda)} %), measured "
        f"{where}."
    )


def _reals(real: Sequence[HeldOutResult]) -> list[str]:
    """A sentence for each attacked victim, or one for all where there are many."""
    if len(real) <= MANY:
        return [_real(j) for j in real]
    groups: dict[str, list[HeldOutResult]] = defaultdict(list)
    for j in real:
        groups[attack(j.victim)].append(j)
    every, by_attack = pooled(real), {name: pooled(group) for name, group in groups.items()}
    worst = max(by_attack, key=lambda name: by_attack[name].eta)
    n_repaired = sum(j.repaired for j in real)
    return [
        f"On {len(real)} really attacked models ({len(groups)} attacks), the same settings and "
        "step left an ASR of "
        f"{percent(every.eta)} %{within(every)} on the mean, from {percent(every.asr0)} % before, "
        "at a mean cost of "
        f"{percent(every.cda_loss)} points of clean accuracy; {n_repaired} of "
        f"{len(real)} were "
        f"repaired. Most was left of {worst}: {percent(by_attack[worst].eta)} % on the mean of "
        f"{by_attack[worst].n_models}."
    ]


def _real(j: HeldOutResult) -> str:
    return (
        f"Against the real attack, {attack(j.victim)}, the same settings and step left "
        f"{percent(j.eta)} %{within(j)} "
        f"of {percent(j.asr0)} % at a clean accuracy of {percent(j.cda)} % (before: "
        f"{percent(j.cda0)} %)."
    )


def _facts(
    w: Winner, seen: Winner | HeldOutResult, given: bool
) -> tuple[tuple[str, str, str], ...]:
    asr = sure(seen.interval, seen.n_triggered, "triggered")
    cda = sure(seen.cda_interval, seen.n_clean, "clean")
    of = " of the copies" if given else ""
    whose = " after a repair on its fit images alone" if given and costs_given(w) else of
    if left_alone(w, seen):
        return (
            (f"Attack success (ASR){of}", f"{percent(seen.eta)} %", asr),
            (f"Clean accuracy (CDA){whose}", f"{percent(seen.cda)} %", cda),
        )
    return (
        (f"Attack success (ASR){of}", f"{percent(seen.asr0)} → {percent(seen.eta)} %", asr),
        (f"Clean accuracy (CDA){whose}", f"{percent(seen.cda0)} → {percent(seen.cda)} %", cda),
        *([] if given and costs_given(w) else [_cost(w, seen, given)]),
    )


def _cost(w: Winner, seen: Winner | HeldOutResult, given: bool) -> tuple[str, str, str]:
    return (
        f"Accuracy it costs{' the copies' if given else ''}",
        f"{percent(seen.cda_loss)} points",
        f"at most {percent(w.delta)} points allowed (Δ)",
    )


def _borne(winners: Sequence[Winner], applied: Applied | None) -> list[Winner]:
    """Those that the given model can bear, where there is one."""
    passed = {p.defense for p in applied.passed_over} if applied else set()
    return [w for w in winners if w.defense not in passed]


def _own(own: Own | None, kept: bool, delta: float) -> tuple[tuple[str, str, str], ...]:
    if own is None:
        return ()
    sure = f"95 % interval {percents(wilson(own.after, own.n))} %; {images_of(own)}"
    if kept:
        return (("This model's own accuracy", f"{percent(own.after)} %", sure),)
    change = f"{percent(own.before)} → {percent(own.after)} %"
    allowed = f"at most {percent(delta)} points allowed (Δ)"
    return (("This model's own accuracy", change, f"{sure}; {cost_of(own)}; {allowed}"),)


def _cautions(
    w: Winner,
    seen: Winner | HeldOutResult,
    told: HeldOutResult | None,
    real: Sequence[HeldOutResult],
    applied: Applied | None,
    winners: Sequence[Winner],
) -> Iterable[str]:
    repaired = seen.eta <= REPAIRED and verdicts.borne(w, seen, applied.own if applied else None)
    if w.asr0 < 0.5:
        yield (
            f"The planted backdoors reached an ASR of only {percent(w.asr0)} %: a choice made on "
            "them means little."
        )
    if told is None:
        yield "Not confirmed on report images: the lowest of many noisy numbers is too low."
    elif w.repaired and not repaired:
        yield (
            f"The images that it was chosen by say {percent(w.eta)} % at a cost of "
            f"{percent(w.cda_loss)} points; the report images do not confirm a repair."
        )
    if repaired:
        yield from _limits_of_a_repair(w, seen, real)
    if others := [] if left_alone(w, seen) else rivals.alike(w, winners):
        yield f"These images do not tell it apart from: {', '.join(others)}."
    if w.defense in CONTROLS and w.defense != "none":
        yield f"{w.defense} is a control: the other defenses did not beat it."
    if w.n_seeds == 1:
        yield "One seed: the spread between repetitions is unknown."


def _weak(seen: Winner | HeldOutResult) -> Iterable[str]:
    for kind, asr in weak(seen).items():
        yield (
            f"The planted {kind} had an ASR of only {percent(asr)} % before the defense: that "
            "little of it is left shows nothing."
        )


def _limits_of_a_repair(
    w: Winner, seen: Winner | HeldOutResult, real: Sequence[HeldOutResult]
) -> Iterable[str]:
    """What speaks against a repair that the copies show."""
    if seen.interval and seen.interval.high > REPAIRED:
        yield (
            f"The interval reaches {percent(seen.interval.high)} %, above the 5 % of a repair: "
            "likely, not certain."
        )
    easier = "above 5 %: the planted ones were easier."
    kept = sum(j.eta > REPAIRED for j in real)
    if len(real) > MANY and kept:
        yield f"{kept} of {len(real)} really attacked models keep an ASR {easier}"
    for j in real if len(real) <= MANY else ():
        if j.eta > REPAIRED:
            yield f"The real attack, {attack(j.victim)}, keeps an ASR {easier}"
        elif not j.repaired:
            yield (
                f"On test images it costs {percent(j.cda_loss)} points of accuracy, more than Δ "
                f"({percent(w.delta)})."
            )
