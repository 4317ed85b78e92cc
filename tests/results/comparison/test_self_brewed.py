"""What defenders choose by brewing against themselves, and what the attacker makes of it."""

from dataclasses import replace
from itertools import chain

import pytest
from synthetic import victim

from results.comparison.self_brewed import self_brewed
from results.comparison.targeted_success import targeted_success
from results.figures.self_brewed import figure as own_figure
from results.figures.targeted import figure
from results.report.page import render
from results.tables import self_brewed as table_of
from results.tables import targeted as targeted_table
from sweep.cli import targeted_views
from trials.spec import Filtering, MethodConfig, Record, Trial, Victim

FAST, EPIC, SHAPED = (MethodConfig(n) for n in ("fast", "epic", "gradient_shaping"))
FILTER = Filtering(method=MethodConfig("deep_knn"), reject=0.2, trusted=0.1, seed=0)


def of(
    key: int, training: MethodConfig, filtering: Filtering | None = None, seed: int = 0
) -> Victim:
    attack = MethodConfig("witches_brew", {"key": key, "budget": 0.01, "epsilon": 16})
    return replace(victim(), attacks=(attack,), training=training, filter=filtering, seed=seed)


def pair(
    given: Victim, *, own: tuple[float, float], real: tuple[float, float], wanted: float = 0.3
) -> list[Record]:
    """Own success and accuracy, and the attacker's success and the accuracy on the test set."""
    brewed = Trial(game=MethodConfig("self_brew"), victim=given, method=None, trusted=0.1, seed=0)
    seen = {"success": own[0], "wanted": wanted, "cda_control": own[1], "success_control": 0.0}
    judged = Trial(game=MethodConfig("targeted"), victim=given, method=None, trusted=0.0, seed=0)
    its = {"success": real[0], "cda": real[1], "cda_control": 0.92, "success_control": 0.0}
    its |= {"wanted": 0.5, "wanted_control": 0.1, "m": 100.0}
    return [
        Record(trial=brewed, status="done", metrics=seen),
        Record(trial=judged, status="done", metrics=its),
    ]


@pytest.fixture
def records() -> list[Record]:
    """Four defenders: epic and, for one of them, the filter, misleads least; shaping costs 10
    points.
    """
    found = []
    for key in range(4):
        found += pair(of(key, FAST), own=(0.9, 0.90), real=(1.0, 0.91))
        found += pair(of(key, EPIC), own=(0.2, 0.89), real=(float(key == 0), 0.90))
        found += pair(of(key, SHAPED), own=(0.0, 0.80), real=(0.0, 0.82))
        low = 0.1 if key == 3 else 0.5
        found += pair(of(key, FAST, FILTER), own=(low, 0.89), real=(float(key == 3), 0.90))
    return found


def test_each_defender_takes_what_misleads_least_within_two_points(records: list[Record]) -> None:
    (found,) = self_brewed(records)
    taken = [(o.victim.training.name, bool(o.victim.filter)) for o in found.taken.options]
    assert sorted(taken) == [("epic", False)] * 3 + [("fast", True)]
    assert found.taken.judged("success") == pytest.approx(0.5)  # keys 0 and 3
    assert [found.times(s) for s in found.settings] == [3, 1, 0, 0]


def test_hindsight_is_the_judges_and_costs_at_most_two_points(records: list[Record]) -> None:
    (found,) = self_brewed(records)
    assert found.hindsight.judged("success") == pytest.approx(0.25)
    assert found.hindsight.victim.training.name in ("epic", "fast")


def test_what_attackers_do_decides_nothing(records: list[Record]) -> None:
    turned = [
        replace(r, metrics={**r.metrics, "success": 1 - r.metrics["success"]})
        if r.trial.game.name == "targeted"
        else r
        for r in records
    ]
    (one,), (other,) = self_brewed(records), self_brewed(turned)
    assert [o.setting for o in one.taken.options] == [o.setting for o in other.taken.options]


def test_a_tie_is_decided_by_the_probability_of_the_class_wanted() -> None:
    first = pair(of(0, FAST), own=(0.5, 0.9), real=(1.0, 0.9), wanted=0.4)
    second = pair(of(0, EPIC), own=(0.5, 0.9), real=(0.0, 0.9), wanted=0.3)
    (found,) = self_brewed([*first, *second])
    assert found.taken.victim.training.name == "epic"


def test_defenders_whose_pairs_are_the_same_are_counted_once(records: list[Record]) -> None:
    """Neither the trusted images nor the pairs depend on the attacker's key."""
    (found,) = self_brewed(records)
    assert (len(found.taken.options), found.taken.draws) == (4, 1)
    assert table_of.table(records)["own draws"].tolist() == [1] * 6
    said = "from 1 draw of trusted images and pairs, 3 of 4 defenders take epic"
    assert said in render(records, title="brew")
    others = [
        pair(of(0, r, seed=s), own=(0.5, 0.9), real=(1.0, 0.9))
        for r in (FAST, EPIC)
        for s in (1, 2)
    ]
    (found,) = self_brewed(chain.from_iterable(others))
    assert (len(found.taken.options), found.taken.draws) == (2, 2)


def test_a_setting_that_is_not_finished_for_every_defender_is_left_out(
    records: list[Record],
) -> None:
    fewer = [r for r in records if r.trial.victim != of(2, EPIC)]
    (found,) = self_brewed(fewer)
    assert len(found.settings) == 3
    assert "epic" not in {o.victim.training.name for o in found.taken.options}
    assert self_brewed([]) == []


def test_the_front_of_recipes_and_filters_is_drawn_and_marked(records: list[Record]) -> None:
    drawn = figure(records)
    lines = [trace for trace in drawn.data if trace.mode == "lines"]
    marks = {trace.name: (trace.x[0], trace.y[0]) for trace in drawn.data if trace.name}
    assert marks["fast"] == (100.0, 91.0) and marks["gradient_shaping"] == (0.0, 82.0)
    assert marks["fast, deep_knn 20 %"] == marks["epic"] == (25.0, 90.0)
    (line,) = lines
    assert list(zip(line.x, line.y, strict=True)) == [(0.0, 82.0), (25.0, 90.0), (100.0, 91.0)]
    made = targeted_table.table(records)
    assert made["on the front"].tolist().count(True) == 3  # of two equal ones the first
    assert 'id="targeted-front"' in render(records, title="brew")
    alone = [r for r in records if r.trial.victim.training == FAST and not r.trial.victim.filter]
    assert not figure(alone).data
    assert targeted_table.table(alone)["on the front"].tolist() == [None]


def test_shares_that_a_search_asks_for_have_one_entry_in_the_legend(records: list[Record]) -> None:
    def named(one: list[Record]) -> set[str]:
        return {t.name for t in own_figure(one).data if t.showlegend is not False and t.name}

    assert named(records) == {"fast", "epic", "gradient_shaping", "fast, deep_knn 20 %"}
    other = replace(FILTER, reject=0.07)
    extra = [pair(of(k, FAST, other), own=(0.5, 0.9), real=(0.5, 0.9)) for k in range(4)]
    drawn = own_figure([*records, *chain.from_iterable(extra)])
    assert named([*records, *chain.from_iterable(extra)]) == {
        *("fast", "epic", "gradient_shaping", "fast, deep_knn")
    }
    said = [t.hovertext[0] for t in drawn.data if t.name == "fast, deep_knn"]
    assert len(said) == 2 and "deep_knn 7 %" in "".join(said)


def test_the_defenders_front_is_of_what_they_see(records: list[Record]) -> None:
    """What the attacker's poison does is not in it."""
    for r in records:
        if r.trial.game.name == "targeted":
            r.metrics["success"] = 1 - r.metrics["success"]  # type: ignore[index]
    drawn = own_figure(records)
    (line,) = [trace for trace in drawn.data if trace.mode == "lines"]
    points = [*zip(line.x, line.y, strict=True)]
    assert points == [(0.0, 80.0), (pytest.approx(20), 89.0), (pytest.approx(90), 90.0)]
    sizes = {trace.name: trace.marker.size for trace in drawn.data if trace.name}
    assert sizes["epic"] == sizes["fast, deep_knn 20 %"] > sizes["fast"]
    made = table_of.table(records).set_index("training")
    assert made.loc["epic", "on the own front"] and made.loc["gradient_shaping", "on the own front"]
    assert made["on the own front"].tolist().count(True) == 3
    assert 'id="self-brewed-front"' in render(records, title="brew")
    alone = [r for r in records if r.trial.victim.training == FAST and not r.trial.victim.filter]
    assert not own_figure(alone).data


def test_table_page_and_best_say_it(
    records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    made = table_of.table(records)
    assert not [c for c in made.columns if "ASR" in c]
    assert made["training"].tolist()[-2] == "as each defender chooses"
    rows = made.set_index("training")
    tuned = rows.loc["as each defender chooses"]
    assert (tuned["success (%)"], tuned["CDA (%)"], tuned["defenders"]) == (50.0, 90.0, 4)
    assert rows.loc["epic", "defenders that take it"] == 3
    assert rows.loc["gradient_shaping", "CDA on images held back (%)"] == 80.0
    said = "3 of 4 defenders take epic; as each of them chooses, 50.0"
    assert said in render(records, title="brew")
    targeted_views.best(targeted_success(records), as_json=False, records=records)
    assert said in capsys.readouterr().out
