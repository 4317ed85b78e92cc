"""Filters along what a sweep varies: attacks at once, poisoned share, imbalance of classes."""

from dataclasses import replace

import pytest
from synthetic import victim

from results.comparison.filter_axes import AXES, along, lines
from results.comparison.filtered_sets import filtered_sets
from results.figures.filter_axes import drawn
from results.report.filters import filter_section
from results.tables import filter_axes
from trials.spec import Filtering, MethodConfig, Record, Trial, Victim

AT_ONCE, SHARE, IMBALANCE = AXES
ROWS = 1000


def attacked(*budgets: int, seed: int = 0, imbalance: float | None = None) -> Victim:
    """By one attack of each budget."""
    names = ("badnets", "blended", "wanet")
    attacks = tuple(MethodConfig(name, {"m": m}) for name, m in zip(names, budgets, strict=False))
    params = {} if imbalance is None else {"imbalance": imbalance}
    return replace(victim(seed=seed), attacks=attacks, dataset=MethodConfig("digits", params))


def trained(on: Victim, cda: float, *asrs: float) -> Record:
    found = Trial(game=MethodConfig("training"), victim=on, method=None, trusted=0.0, seed=on.seed)
    each = {f"asr/{a.name}": asr for a, asr in zip(on.attacks, asrs, strict=True)}
    metrics = {"cda": cda, "asr": max(asrs), **(each if len(asrs) > 1 else {})}
    return Record(trial=found, status="done", metrics=metrics, curve=())


def filtered(on: Victim, name: str, *asrs: float, poisoned: float = 0.5) -> list[Record]:
    """The victim before and after a filter that loses a point of CDA."""
    filtering = Filtering(method=MethodConfig(name), reject=0.4, trusted=0.01, seed=0)
    kept = replace(on, filter=filtering)
    game = MethodConfig("filtering")
    scoring = Trial(game=game, victim=kept, method=None, trusted=0.01, seed=0)
    sizes = {f"m/{a.name}": float(a.params["m"]) for a in on.attacks}
    areas = {f"auroc/{a.name}": 0.9 for a in on.attacks}
    metrics = {"rows": float(ROWS), "removed": 0.4, "kept_min": 0.3, **sizes, **areas}
    metrics |= {"removed_poisoned": poisoned, "removed_clean": 0.1}
    scored = Record(trial=scoring, status="done", metrics=metrics, curve=())
    return [trained(on, 0.95, *([1.0] * len(asrs))), scored, trained(kept, 0.94, *asrs)]


def test_one_attack_and_several_at_once_are_compared_whichever_they_are() -> None:
    records = [
        *filtered(attacked(50), "good", 0.1),
        *filtered(attacked(90, seed=1), "good", 0.3),  # as many attacks: the mean counts
        *filtered(attacked(50, 50), "good", 0.6, 0.8),
    ]
    found = along(filtered_sets(records), AT_ONCE)
    assert [(one.at, len(one.sets)) for one in found] == [(1, 2), (2, 1)]
    assert [one.left for one in found] == pytest.approx([0.2, 0.7])
    assert [one.largest for one in found] == pytest.approx([0.2, 0.8])
    assert [one.before for one in found] == pytest.approx([1.0, 1.0])


def test_the_poisoned_share_is_compared_for_the_same_attacks_alone() -> None:
    records = [
        *filtered(attacked(50), "good", 0.1),
        *filtered(attacked(100), "good", 0.4),
        *filtered(attacked(100, 100), "good", 0.6, 0.8),  # other attacks, and one place
    ]
    found = along(filtered_sets(records), SHARE)
    assert [one.at for one in found] == [0.05, 0.1]
    assert [one.left for one in found] == pytest.approx([0.1, 0.4])


def test_few_poisoned_rows_of_many_are_places_of_their_own() -> None:
    sets = filtered_sets([*filtered(attacked(1), "a", 0.1), *filtered(attacked(2), "a", 0.2)])
    sized = [
        replace(s, scored=tuple(replace(r, metrics={**r.metrics, "rows": 1e5}) for r in s.scored))
        for s in sets
    ]
    assert [one.at for one in along(sized, SHARE)] == [0.00001, 0.00002]


def test_attacks_that_are_compared_apart_are_named() -> None:
    blended = replace(attacked(50), attacks=(MethodConfig("blended", {"m": 50}),))
    larger = replace(blended, attacks=(MethodConfig("blended", {"m": 100}),))
    records = [
        *filtered(attacked(50), "good", 0.1),
        *filtered(attacked(100), "good", 0.2),
        *filtered(blended, "good", 0.7),
        *filtered(larger, "good", 0.9),
    ]
    rows = filter_axes.table(records).to_dict("records")
    assert {(r["attack"], r["at"]): r["mean ASR (%)"] for r in rows} == {
        ("badnets", 0.05): 10,
        ("badnets", 0.1): 20,
        ("blended", 0.05): 70,
        ("blended", 0.1): 90,
    }
    section = filter_section(records)
    titles = {c.title for c in section["charts"]} if section else set()
    assert titles >= {f"Filters by poisoned share: {name}" for name in ("badnets", "blended")}


def test_before_any_filter_all_victims_at_a_place_count_whichever_filters_saw_them() -> None:
    two = [*filtered(attacked(50), "a", 0.1), *filtered(attacked(50, seed=1), "a", 0.1)]
    weak = [replace(r, metrics={**r.metrics, "asr": 0.2}) for r in two[3:4]]
    both = [*filtered(attacked(50, 50), "a", 0.6, 0.8), *filtered(attacked(50, 50), "z", 0.1, 0.1)]
    records = [*two[:3], *weak, *two[4:], *both, *filtered(attacked(50), "z", 0.3)]
    records = list({r.trial.id: r for r in records}.values())
    (group,) = lines(along(filtered_sets(records), AT_ONCE)).values()
    traces = {t.name: t for t in drawn(group).data}
    assert traces["no filter"].y[0] == pytest.approx(60)


def test_the_imbalance_of_classes_is_an_axis_also_where_one_victim_has_the_default() -> None:
    records = [
        *filtered(attacked(50), "good", 0.1),
        *filtered(attacked(50, imbalance=0.1), "good", 0.5),
    ]
    found = along(filtered_sets(records), IMBALANCE)
    assert [(one.at, one.left) for one in found] == [(0.1, 0.5), (1.0, 0.1)]
    assert not along(filtered_sets(records), AT_ONCE)


def test_what_does_not_vary_has_no_row_and_no_chart() -> None:
    records = filtered(attacked(50), "good", 0.1)
    assert filter_axes.table(records).empty
    section = filter_section(records)
    assert section and not [c for c in section["charts"] if c.title.startswith("Filters by")]


def test_a_set_that_was_not_trained_again_has_no_place() -> None:
    records = [*filtered(attacked(50), "good", 0.1), *filtered(attacked(50, 50), "good", 0.6, 0.8)]
    kept = [r for r in records if not (r.trial.victim.filter and "asr/blended" in r.metrics)]
    assert not along(filtered_sets(kept), AT_ONCE)


def test_the_table_the_chart_and_the_page_have_every_place() -> None:
    records = [
        *filtered(attacked(50), "good", 0.1, poisoned=0.9),
        *filtered(attacked(50, 50), "good", 0.6, 0.8),
        *filtered(attacked(50), "poor", 0.9),
        *filtered(attacked(50, 50), "poor", 0.9, 0.7),
    ]
    records = list({r.trial.id: r for r in records}.values())
    table = filter_axes.table(records).set_index(["filter", "at"])
    assert set(table["by"]) == {"attacks at once"}
    wanted = {
        **{"mean ASR before (%)": 100, "mean ASR (%)": 10, "max ASR (%)": 10},
        **{"poisoned rows removed (%)": 90, "CDA lost (pp)": 1, "victims": 1},
    }
    rows = table.to_dict("index")
    assert {k: rows["good", 1][k] for k in wanted} == wanted
    assert rows["good", 2]["max ASR (%)"] == 80
    (group,) = lines(along(filtered_sets(records), AT_ONCE)).values()
    traces = {t.name: t for t in drawn(group).data}
    assert set(traces) == {"no filter", "good (40 %)", "poor (40 %)"}
    assert traces["good (40 %)"].x == (1, 2)
    assert traces["good (40 %)"].y == pytest.approx((10, 70))
    section = filter_section(records)
    assert section and "Filters by attacks at once" in [c.title for c in section["charts"]]
