"""A sweep goes on as the version that began it would, where a default has become another since."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep

from results.store import Store
from results.store.sweep_specs import ASKED
from sweep.execution.opening import EARLIER_SCHEMES, as_begun
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.spec import MethodConfig

SETTINGS = catalog.describe("games", "self_poison").settings
NOW, FOLDS = SETTINGS["scheme"].default, SETTINGS["folds"].default
TABLE = {k: v for k, v in tiny_sweep.SELF_POISONING.items() if k != "scheme"}


def sweep_with(*tables: Mapping[str, Any]) -> Sweep:
    return replace(tiny_sweep.sweep(), self_poisoning=tables)


def begun(store: Store, **table: Any) -> None:
    """The store has the sweep, whose copies are poisoned so."""
    store.add_sweep(tiny_sweep.sweep().name, {ASKED: {"self_poisoning": [{**TABLE, **table}]}})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as opened:
        yield opened


@pytest.mark.parametrize("scheme", [*EARLIER_SCHEMES, NOW])
def test_copies_are_poisoned_by_the_default_of_that_day(scheme: str, store: Store) -> None:
    begun(store, scheme=scheme)
    (table,) = as_begun(sweep_with(TABLE), store).self_poisoning
    assert {"scheme": NOW, **table} == {**TABLE, "scheme": scheme, "folds": 0}


@pytest.mark.parametrize("scheme", [*EARLIER_SCHEMES, NOW])
def test_trusted_images_are_cut_as_on_that_day(scheme: str, store: Store) -> None:
    begun(store, scheme=scheme, folds=FOLDS)
    (table,) = as_begun(sweep_with(TABLE), store).self_poisoning
    assert {"scheme": NOW, "folds": FOLDS, **table} == {**TABLE, "scheme": scheme, "folds": FOLDS}


@pytest.mark.parametrize("mirrored", [{}, {"mirrored": False}, {"mirrored": True}])
def test_costs_are_measured_as_on_that_day(mirrored: dict[str, bool], store: Store) -> None:
    spec = {ASKED: {"tuning": {"copies": 1, "cost": "given", **mirrored}}}
    store.add_sweep(tiny_sweep.sweep().name, spec)
    given = as_begun(replace(tiny_sweep.sweep(), tuning={"copies": 1}), store)
    tuning = catalog.resolve("games", MethodConfig("tuning", given.tuning)).params
    assert (tuning["cost"], tuning["mirrored"]) == ("given", mirrored.get("mirrored", False))


@pytest.mark.parametrize(("first", "other"), [("distilled", NOW), ("labels", "distilled")])
def test_a_default_that_was_compared_with_a_scheme_stays_what_it_was(
    first: str, other: str, store: Store
) -> None:
    """Though the other is, or was, a default as well."""
    tables = [{**TABLE, "scheme": first}, {**TABLE, "scheme": other}]
    store.add_sweep(tiny_sweep.sweep().name, {ASKED: {"self_poisoning": tables}})
    unsaid, said = as_begun(sweep_with(TABLE, tables[1]), store).self_poisoning
    assert (unsaid, said) == ({**tables[0], "folds": 0}, {**tables[1], "folds": 0})


def test_a_scheme_that_was_no_default_is_never_taken_unasked(store: Store) -> None:
    begun(store, scheme="reborn")
    assert as_begun(sweep_with(TABLE), store) == sweep_with(TABLE)


def test_what_is_asked_for_stays(store: Store) -> None:
    begun(store, scheme=EARLIER_SCHEMES[0])
    asked = sweep_with({"scheme": "reborn", **TABLE})
    assert as_begun(asked, store) == asked
