"""Which of Ray's workers stay while they have no trial."""

from typing import Any

import pytest
from ray.tune.execution import tune_controller
from ray.tune.utils.object_cache import _ObjectCache

from sweep.execution.ray_tune import actor_cache

pytestmark = pytest.mark.ray  # no Ray is started, but much of it loaded


def two_idle(waits: bool = False) -> Any:
    """A cache with two workers of one share, as at the end of a stage."""
    cache = actor_cache.cache(_ObjectCache, lambda: waits, may_keep_one=True)
    assert [cache.cache_object("1 CPU", worker) for worker in ("first", "second")] == [
        True,
        not waits,
    ]
    return cache


def test_all_stay_for_the_next_stage_and_are_used_again() -> None:
    cache = two_idle()
    assert not list(cache.flush_cached_objects())
    assert {cache.pop_cached_object("1 CPU") for _ in range(2)} == {"first", "second"}
    assert cache.num_cached_objects == 0


def test_tunes_own_cache_keeps_one() -> None:
    """Else there were no need for another."""
    usual = _ObjectCache(may_keep_one=True)
    assert [usual.cache_object("1 CPU", worker) for worker in ("first", "second")] == [True, False]


def test_they_go_when_a_trial_waits_for_another_share() -> None:
    cache = two_idle()
    cache.increase_max("1 GPU")
    assert list(cache.flush_cached_objects()) == ["first", "second"]
    assert not cache.cache_object("1 CPU", "third")


def test_one_that_waits_for_their_share_sends_none_away() -> None:
    cache = two_idle()
    cache.increase_max("1 CPU")
    assert not list(cache.flush_cached_objects())


def test_one_that_tune_keeps_for_a_waiting_trial_stays_beside_another_share() -> None:
    cache = actor_cache.cache(_ObjectCache, lambda: False, may_keep_one=True)
    for share in ("1 CPU", "1 GPU"):
        cache.increase_max(share)
    assert cache.cache_object("1 CPU", "first")
    assert not list(cache.flush_cached_objects())


def test_they_go_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = two_idle()
    monkeypatch.setattr(actor_cache, "IDLE_SECONDS", -1.0)
    assert list(cache.flush_cached_objects()) == ["first", "second"]
    assert not cache.num_cached_objects


def test_they_go_where_the_rest_waits_for_other_drivers() -> None:
    """Those may want the same share of the cluster."""
    cache = two_idle(waits=True)
    assert list(cache.flush_cached_objects()) == ["first"]


def test_tune_gets_its_own_back() -> None:
    with actor_cache.kept(lambda: False):
        assert tune_controller._ObjectCache is not _ObjectCache  # type: ignore[attr-defined]
        assert tune_controller._ObjectCache(may_keep_one=True).cache_object("1 CPU", "first")  # type: ignore[attr-defined]
    assert tune_controller._ObjectCache is _ObjectCache  # type: ignore[attr-defined]


def test_a_ray_without_such_a_cache_goes_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(tune_controller, "_ObjectCache")
    with actor_cache.kept(lambda: False):
        assert not hasattr(tune_controller, "_ObjectCache")


def test_the_dead_are_dropped_with_all_others() -> None:
    asked = []

    class Controller:
        def _cleanup_cached_actors(self, force_all: bool) -> None:
            asked.append(force_all)

    actor_cache.dropped(Controller())
    actor_cache.dropped(object())
    assert asked == [True]
