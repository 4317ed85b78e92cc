"""Searches of a stage read the store together: each hears what other drivers add to it, and nothing
else.
"""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_sweep
from planned import record

from results.store import Store
from sweep.execution.scheduler import Scheduler
from sweep.planning import expansion, search_feed
from sweep.planning.optuna_search import SearchStrategy
from sweep.planning.search_feed import SearchFeed
from sweep.planning.stages import tuned_strategies
from sweep.spec.sweep_file import Sweep
from trials.spec import Trial

SEARCH = {
    "name": "weight_decay",
    "profile": "small",
    "strategy": "search",
    "trials": 4,
    "sampler": "random",
}
OTHER = {**SEARCH, "name": "fine_tuning"}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the store was asked for what."""
    counted: Counter[str] = Counter()
    for name in ("records", "finished", "get"):
        real = getattr(Store, name)

        def spy(self: Store, *words: Any, _real: Any = real, _name: str = name) -> Any:
            counted[_name] += 1
            return _real(self, *words)

        monkeypatch.setattr(Store, name, spy)
    return counted


def searches(store: Store, **changes: Any) -> list[SearchStrategy]:
    return [w for w in tuned_strategies(of(**changes), store) if isinstance(w, SearchStrategy)]


def of(**changes: Any) -> Sweep:
    return tiny_sweep.sweep(
        **{"defenses": [SEARCH, OTHER], "confirm": False, "judge": False, **changes}
    )


def first(strategy: SearchStrategy) -> Trial:
    trial = strategy.ask()
    assert trial is not None
    return trial


def test_the_records_are_read_once_for_all_searches(store: Store, calls: Counter[str]) -> None:
    strategies = searches(store, victim={**tiny_sweep.VICTIM, "seeds": [0, 1, 2]})
    assert len(strategies) == 6
    assert calls == {"records": 1}


def test_a_list_needs_no_records(store: Store, calls: Counter[str]) -> None:
    tuned_strategies(of(defenses=tiny_sweep.DEFENSES), store)
    assert not calls


def test_the_store_is_not_looked_at_for_every_trial(store: Store, calls: Counter[str]) -> None:
    scheduler = Scheduler(iter([[*searches(store)]]), store, "tiny")
    while (trial := scheduler.next()) is not None:
        scheduler.finish(record(trial))
    assert scheduler.progress.done == 8
    assert calls["finished"] <= 1  # on a machine that takes a second for it


def test_a_look_takes_its_share_of_the_time_and_no_more(
    store: Store, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # made; a look from 1 to 3, so 200 seconds none; the next
    clock = iter([0.0, 1.0, 3.0, 202.9, 203.0, 203.0])
    monkeypatch.setattr(
        "sweep.planning.search_feed.time", SimpleNamespace(monotonic=lambda: next(clock))
    )
    feed = SearchFeed(of(), store)
    for looks in (1, 1, 2):
        feed.look()
        assert calls["finished"] == looks


def test_own_trials_are_not_read_back(
    store: Store, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.execution.scheduler.LOOK", 0.0)
    monkeypatch.setattr(search_feed, "LOOK", 0.0)
    strategies = searches(
        store,
        self_poisoning=[tiny_sweep.SELF_POISONING, {**tiny_sweep.SELF_POISONING, "share": 0.4}],
    )
    for _ in range(3):
        for strategy in strategies:
            trial = first(strategy)
            store.put(record(trial), "tiny")
            strategy.tell(record(trial))
    assert calls["finished"] >= 12
    assert calls["get"] == 0
    assert all(w.known == 0 for w in strategies)


def test_a_search_hears_of_its_own_cell_and_defense_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.execution.scheduler.LOOK", 0.0)
    monkeypatch.setattr(search_feed, "LOOK", 0.0)
    tasks: dict[str, Any] = {
        "victim": {**tiny_sweep.VICTIM, "seeds": [0, 1]},
        "trusted": [0.2, 0.1],
        "self_poisoning": [tiny_sweep.SELF_POISONING, {**tiny_sweep.SELF_POISONING, "share": 0.4}],
    }
    here, remote_done = searches(store, **tasks), searches(store, **tasks)
    assert len(here) == 2 * len(expansion.tasks(of(**tasks))) == 16
    store.put(record(first(remote_done[5])), "tiny")
    for strategy in here:
        strategy.ask()
    assert [w.known for w in here] == [int(i == 5) for i in range(16)]


def test_two_searches_of_one_defense_hear_of_each_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.execution.scheduler.LOOK", 0.0)
    monkeypatch.setattr(search_feed, "LOOK", 0.0)
    one, two = searches(store, defenses=[SEARCH, {**SEARCH, "sampler": "tpe"}])
    trials = [first(one), first(one)]
    for trial in trials:
        store.put(record(trial), "tiny")
        one.tell(record(trial))
    assert first(two).id not in {t.id for t in trials[1:]}
    assert (one.known, two.known) == (0, 2)
