"""One blind choice beside each defense at its best: what counts as repaired, and of whom."""

import dataclasses
from typing import Any

import pytest
import synthetic
from synthetic import of_kinds, real, tuned

from benchmarks.board import BEST, BLIND, Repair, repairs, tables
from trials.spec import MethodConfig, Record, Victim

ATTACKED, CLEAN = synthetic.victim(), synthetic.victim("")
# step, CDA, ASR on copies; the true attack's curve is another
STRONG = [(0, 0.95, 1.0), (50, 0.94, 0.3), (100, 0.935, 0.02)]
WEAK = [(0, 0.95, 1.0), (50, 0.945, 0.6), (100, 0.94, 0.5)]


def trained(of: Victim = ATTACKED, cda: float = 0.95, asr: float = 0.99) -> Record:
    record = synthetic.tuned([(0, cda, asr)], "training", of=of)
    alone = dataclasses.replace(record.trial, method=None, trusted=0.0)
    return dataclasses.replace(record, trial=alone, metrics={"cda": cda, "asr": asr})


def swept(strong: Any, weak: Any, **left: float) -> list[Record]:
    """Two defenses on copies and on the true attack, with these curves on the latter."""
    return [
        of_kinds(tuned(STRONG, "tuning", "fst"), **(left or {"patch": 0.02, "warp": 0.02})),
        of_kinds(tuned(WEAK, "tuning", "nad"), patch=0.5, warp=0.5),
        real(strong, defense="fst"),
        real(weak, defense="nad"),
    ]


REAL_STRONG = [(0, 0.96, 0.99), (50, 0.95, 0.5), (100, 0.945, 0.01)]
REAL_WEAK = [(0, 0.96, 0.99), (50, 0.955, 0.7), (100, 0.95, 0.6)]


def chosen(found: list[Repair]) -> dict[str, tuple[str, int, float, bool]]:
    return {r.chooser: (r.defense, r.step, r.eta, r.repaired) for r in found}


def test_the_blind_choice_stands_beside_each_defense_and_the_best_of_all() -> None:
    found = repairs([trained(), *swept(REAL_STRONG, REAL_WEAK)])
    assert chosen(found) == {
        BLIND: ("fst", 50, 0.5, False),  # its copies' kinds are left alike at both steps
        BEST: ("fst", 100, 0.01, True),
        "fst": ("fst", 100, 0.01, True),
        "nad": ("nad", 100, 0.6, False),
    }
    (blind,) = (r for r in found if r.chooser == BLIND)
    assert (blind.promised, blind.scheme) == (0.02, "labels")
    assert blind.cda_loss == pytest.approx(0.01) and blind.counts
    lines = tables(found)
    assert lines[0] == "1 % of the training images are trusted:"
    assert [line.split(" | ")[0] for line in lines[4:8]] == [
        f"| {name}" for name in (BLIND, BEST, "fst", "nad")
    ]
    assert "0 of 1, 50 % (1.0)" in lines[4] and "1 of 1, 1 % (1.5)" in lines[5]


def test_exactly_delta_is_within_it() -> None:
    dear = [(0, 0.96, 0.99), (50, 0.94, 0.01), (100, 0.94, 0.01)]
    assert chosen(repairs([trained(), *swept(dear, REAL_WEAK)]))[BLIND][3]


def test_a_true_run_that_was_ended_early_counts_at_its_last_point() -> None:
    short = [(0, 0.96, 0.99), (20, 0.90, 0.02)]
    found = repairs([trained(), *swept(short, REAL_WEAK)])
    assert chosen(found)[BLIND] == ("fst", 50, 0.02, False)


@pytest.mark.parametrize(
    ("victim", "clean"), [(trained(asr=0.79), trained(CLEAN)), (trained(cda=0.89), trained(CLEAN))]
)
def test_a_victim_that_learned_too_little_is_counted_apart(victim: Record, clean: Record) -> None:
    found = repairs([victim, clean, *swept(REAL_STRONG, REAL_WEAK)])
    assert found and not any(r.counts for r in found)
    assert tables(found)[-2] == "1 victims left out: attack not learned, or low CDA"


def test_a_choice_without_its_true_run_is_refused() -> None:
    records = [r for r in swept(REAL_STRONG, REAL_WEAK) if r.trial.game.name == "tuning"]
    with pytest.raises(SystemExit, match="fst was chosen and never ran on the true attack"):
        repairs([trained(), *records])


def test_several_choices_for_one_victim_are_refused() -> None:
    records = swept(REAL_STRONG, REAL_WEAK)
    again = MethodConfig("self_poison", {"attack": "mixed", "scheme": "late"})
    other = [
        dataclasses.replace(r, trial=dataclasses.replace(r.trial, self_poisoning=again))
        for r in records[:2]
    ]
    with pytest.raises(SystemExit, match="one \\[self_poisoning\\] table"):
        repairs([trained(), *records, *other])
