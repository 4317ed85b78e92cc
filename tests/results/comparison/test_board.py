"""One blind choice beside each defense at its best: what counts as repaired, and of whom."""

import dataclasses
from typing import Any

import pytest
import synthetic
from synthetic import of_kinds, real, tuned

from benchmarks._board_repairs import BEST, BLIND, Repair, repairs
from benchmarks.board import tables
from trials.spec import MethodConfig, Record, SpecError, Victim

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
    records = [
        of_kinds(tuned(STRONG, "tuning", "fst"), **(left or {"patch": 0.02, "warp": 0.02})),
        of_kinds(tuned(WEAK, "tuning", "nad"), patch=0.5, warp=0.5),
        real(strong, defense="fst"),
        real(weak, defense="nad"),
    ]
    took = zip(records, (10.0, 10.0, 3.0, 4.0), strict=True)
    return [dataclasses.replace(record, seconds=seconds) for record, seconds in took]


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
    assert [line.split(" | ")[-2] for line in lines[4:8]] == ["0, 0", "0, 1", "0, 1", "0, 0"]
    assert [(r.tried, r.seconds) for r in found] == [(2, 20), (2, 7), (1, 3), (1, 4)]
    (row,) = (line for line in lines if "`fst`, step 50" in line)
    assert "2.0 % | – | – | 50.0 % | 1.0 | 1.0 | –" in row  # no pair is known of such copies


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
    assert "1 victims left out: attack not learned, or low CDA" in tables(found)


def test_a_choice_without_its_true_run_is_refused() -> None:
    records = [r for r in swept(REAL_STRONG, REAL_WEAK) if r.trial.game.name == "tuning"]
    with pytest.raises(SpecError, match="fst was chosen and never ran on the true attack"):
        repairs([trained(), *records])


def test_what_a_clean_model_loses_by_the_choice_stands_beside_it() -> None:
    spared = tuned([(0, 0.95, 0.0), (50, 0.92, 0.0)], "robustness", "fst", of=CLEAN)
    game = MethodConfig("robustness", {**spared.trial.game.params, "stop_at": 50})
    spared = dataclasses.replace(spared, trial=dataclasses.replace(spared.trial, game=game))
    other = dataclasses.replace(spared.trial, victim=synthetic.victim("", seed=1))
    ruined = tuned([(0, 0.95, 0.0), (50, 0.5, 0.0)], "robustness", "fst")  # another seed's
    ruined = dataclasses.replace(ruined, trial=other)
    found = repairs([trained(), trained(CLEAN), *swept(REAL_STRONG, REAL_WEAK), spared, ruined])
    losses = {r.chooser: r.cda_loss_clean for r in found}
    assert losses.pop(BLIND) == pytest.approx(0.03) and set(losses.values()) == {None}


def test_a_victim_judged_in_two_ways_is_refused() -> None:
    records = swept(REAL_STRONG, REAL_WEAK)
    game = MethodConfig("robustness", {**records[2].trial.game.params, "record_every": 25})
    again = dataclasses.replace(records[2], trial=dataclasses.replace(records[2].trial, game=game))
    with pytest.raises(SpecError, match="name the sweeps that are wanted by --sweep"):
        repairs([trained(), *records, again])


def test_several_choices_for_one_victim_are_refused() -> None:
    records = swept(REAL_STRONG, REAL_WEAK)
    again = MethodConfig("self_poison", {"attack": "mixed", "scheme": "late"})
    other = [
        dataclasses.replace(r, trial=dataclasses.replace(r.trial, self_poisoning=again))
        for r in records[:2]
    ]
    with pytest.raises(SpecError, match="1 victims have several choices"):
        repairs([trained(), *records, *other])
