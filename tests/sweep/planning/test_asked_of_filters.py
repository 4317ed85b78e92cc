"""Which settings of a filter a search asks for, of which victims, and what is checked of them."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from searched import KNN, OWN, SEARCH, draw, own, ran, store_at, told

from search_spaces._strategies import grid
from sweep.execution import preflight
from sweep.planning import filtering
from sweep.planning.known_points import First
from sweep.planning.searches import searches
from sweep.spec.filters import Filter, filter_of
from trials import catalog
from trials.spec import Record, Trial

FIRST: Any = First()


def first_and_asked(**given: Any) -> tuple[Any, Any]:
    """A filter's first point as victims are filtered by it, and as a search asks for it."""
    found: Filter = filter_of({"strategy": "search", "fixed": {}, **given})
    return filtering.points(found)[0], filtering.parted(found, filtering.asked(found, FIRST))[1]


@pytest.mark.parametrize("name", catalog.names("filter_spaces"))
@pytest.mark.parametrize("reject", ["own", 0.1])
def test_what_is_fixed_leads_victims_and_searches_into_the_same_branch(
    name: str, reject: str | float
) -> None:
    if reject == "own" and not catalog.describe("filters", name).rejects:
        return
    points = grid(catalog.find("filter_spaces", name), "small")
    for key, value in set(chain.from_iterable(p.params.items() for p in points)):
        told_of, asked = first_and_asked(
            name=name, profile="small", reject=reject, fixed={key: value}
        )
        assert told_of == asked and told_of.params[key] == value


def test_what_is_fixed_decides_what_a_grid_lists() -> None:
    of = filter_of({"name": "strip", "fixed": {"form": "sum"}, "limit": 99})
    assert {p.params["alpha"] for p in filtering.points(of)} == {1.0, 0.5}
    assert filtering.points(of)[0].params["alpha"] == 1.0


@pytest.mark.parametrize("reject", [[0.1, 0.3], "mixture"])
def test_of_what_the_own_rule_alone_reads_nothing_is_asked_without_it(reject: Any) -> None:
    seen = list[str]()

    class Noting(First):
        def choose(self, name: str, choices: Any) -> Any:
            seen.append(name)
            return super().choose(name, choices)

    given = {"name": "activation_clustering", "strategy": "search"}
    for rejects in (reject, "own"):
        filtering.asked(filter_of({**given, "reject": rejects}), Noting())
        seen.append("|")
    share = ["reject"] if isinstance(reject, list) else []
    of_scores = ["classes", "reduction", "dimensions"]
    assert seen == [*share, *of_scores, "|", "rule", "silhouette", *of_scores, "|"]


def test_words_and_shares_among_what_is_rejected_are_options(tmp_path: Path) -> None:
    table = {**KNN, "name": "spectral_signatures", "trials": 12, "reject": ["own", 0.1]}
    of = own(filters=({**table, "quota": ["global", "capped"], "fixed": {"rule": "percentile"}},))
    with store_at(tmp_path) as store:
        ran(of, store, answer=answer_without_share)
        asked = {params["reject"]: set(params) for _, params, _ in told(of, store)}
        found = [r.trial.victim.filter for r in store.records(of.name, "filtering")]
    assert asked["own"] == {"reject", "assumed", "scale"}  # its rule ranks no class by itself
    assert asked["0.1"] == {"reject", "quota", "scale"}  # and alone reads `assumed`
    ways = {(f.reject, str(f.threshold.get("quota"))) for f in found if f}
    assert {"own", 0.1} == {reject for reject, _ in ways} and (0.1, "capped") in ways
    assert {f.method.params["rule"] for f in found if f} == {"percentile"}


def answer_without_share(trial: Trial) -> Record:
    metrics = dict.fromkeys(("wanted", "success", "cda", "cda_control"), draw(trial.id))
    return Record(trial=trial, status="done", metrics={**metrics, "n_targeted": 3.0}, seconds=1.0)


def test_filters_go_with_the_recipes_that_they_name() -> None:
    grid = {"name": "spectral_signatures", "recipes": ["fast"]}
    of = own(SEARCH, filters=(grid,))
    victims = filtering.filtered(of, of.filters[0])
    assert {v.training.name for v in victims} == {"fast"} and len(victims) == 2
    both = own(SEARCH, filters=({"name": "spectral_signatures"},))
    assert len(filtering.filtered(both, both.filters[0])) == 4


def test_each_setting_is_checked_once_for_a_group_and_an_r() -> None:
    twice: dict[str, Any] = {"trusted": [0.25, 0.3], "seeds": [0, 1]}
    twice["self_poisoning"] = [OWN, {**OWN, "pairs": 2}]
    of = own(SEARCH, filters=({**KNN, "quota": ["global", "capped"]},), **twice)
    assert len(searches(of)) == 4 + 4
    looked_at = preflight.listed_settings(of)
    filters = [v for v in looked_at if v.filter]
    every = filtering.points(replace(of.filters[0], strategy="grid", limit=10**6))
    assert len(filters) == 2 * len(every) and {v.seed for v in filters} == {0}
    assert len(looked_at) - len(filters) == len(replace(of.recipes[0], strategy="grid").points())
