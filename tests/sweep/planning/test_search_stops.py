"""A search that is stopped anywhere tries what an undisturbed one tries, and another driver's
records stay of use.
"""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_sweep
from optuna.trial import TrialState
from planned import record

from sweep.planning import expansion
from sweep.planning.optuna_search import SearchStrategy
from sweep.planning.search_feed import FeedReader
from sweep.planning.stages import strategy_of
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, Trial, content_id

# enough that each sampler learns: tpe and gp after ten, nsga2 after a generation of fifty
SAMPLERS = [("random", 8), ("tpe", 18), ("nsga2", 56), ("gp", 16)]
STOPS = {
    "random": range(9),
    "tpe": range(19),
    "nsga2": (0, 1, 25, *range(46, 57)),
    "gp": (1, 13, 15),
}


def searching(sampler: str, trials: int, seeds: Any = 0, **extra: Any) -> Sweep:
    asked = {
        "name": "weight_decay",
        "profile": "small",
        "strategy": "search",
        "sampler": sampler,
        "trials": trials,
        **extra,
    }
    return tiny_sweep.sweep(defenses=[asked], seeds=seeds, confirm=False, judge=False)


def strategy(sweep: Sweep, before: list[Record] | None = None) -> SearchStrategy:
    feed: Any = SimpleNamespace(reader=lambda *_: FeedReader(before or []))
    found = strategy_of(sweep, sweep.defenses[0], expansion.tasks(sweep)[0], feed)
    assert isinstance(found, SearchStrategy)
    return found


def answer(trial: Trial) -> Record:
    """What a trial gives, by its settings alone; one in seven fails, and one is pruned."""
    assert trial.method is not None
    chance, lr = (
        int(content_id(trial.method.identity())[:8], 16) % 7,
        float(trial.method.params.get("lr", 0.0)),
    )
    status = {0: "failed", 1: "pruned"}.get(chance, "done")
    return record(
        trial, asr=min(1.0, abs(lr - 0.05) * 5 + chance / 100), cda=0.9 - lr / 5, status=status
    )


def drained(
    asking: SearchStrategy, known: list[Record], workers: int = 1, most: int = 10**6
) -> list[Record]:
    """The new records, in the order in which they came, of so many workers that take turns;
    ``most`` of them.
    """
    there, new, busy = {r.trial.id: r for r in known}, list[Record](), list[Trial]()
    while len(new) < most:
        while len(busy) < workers and (trial := asking.ask()) is not None:
            if trial.id in there:  # as a scheduler does
                asking.tell(there[trial.id])
            elif trial in busy:
                asking._waiting[trial.id].pop()  # told with the other
            else:
                busy.append(trial)
        if not busy:
            break
        new.append(answer(busy.pop(0)))
        there[new[-1].trial.id] = new[-1]
        asking.tell(new[-1])
    return new


def told(asking: SearchStrategy) -> list[Any]:
    """All that a sampler can know of a study's trials."""
    return [
        (t.state, t.params, t.values, t.constraints, t.system_attrs) for t in asking.study.trials
    ]


@pytest.mark.parametrize(("sampler", "trials"), SAMPLERS)
@pytest.mark.parametrize(
    "extra", [{}, {"objectives": ["asr", "cda_loss"]}], ids=["one objective", "two"]
)
def test_a_search_stopped_anywhere_goes_on_as_if_it_had_not_been(
    sampler: str, trials: int, extra: Any
) -> None:
    sweep = searching(sampler, trials, **extra)
    undisturbed = strategy(sweep)
    whole = drained(undisturbed, [])
    assert {r.status for r in whole} == {"done", "failed", "pruned"}
    for stop in STOPS[sampler]:
        resumed = strategy(sweep, whole[:stop])
        assert resumed.known == stop
        assert drained(resumed, whole[:stop]) == whole[stop:]
        assert resumed.done
        if stop < len(whole):  # else nothing is asked
            assert told(resumed) == told(undisturbed)


def test_it_is_so_with_several_base_seeds_and_a_stop_between_them() -> None:
    sweep = searching("tpe", 14, seeds=[0, 1, 2])
    whole = drained(strategy(sweep), [])
    assert len(whole) == 3 * 14
    for stop in range(len(whole)):
        assert drained(strategy(sweep, whole[:stop]), whole[:stop]) == whole[stop:]


def test_it_is_so_where_settings_branch_and_some_are_asked_for_twice() -> None:
    sweep = searching("tpe", 24, name="pivotal_tuning", profile="cifar10")
    whole_numbers = searching("tpe", 30, name="bn_refresh")
    for one in (sweep, whole_numbers):
        undisturbed = strategy(one)
        whole = drained(undisturbed, [])
        for stop in range(0, len(whole), 5):
            resumed = strategy(one, whole[:stop])
            assert drained(resumed, whole[:stop]) == whole[stop:]
            assert told(resumed) == told(undisturbed)
    assert len(whole) < 30


def test_a_longer_search_begins_as_the_shorter_one() -> None:
    short, long = (drained(strategy(searching("tpe", n)), []) for n in (12, 16))
    assert long[:12] == short
    assert drained(strategy(searching("tpe", 16), short), short) == long[12:]


@pytest.mark.parametrize(("sampler", "trials"), SAMPLERS)
def test_with_several_workers_a_stop_loses_nothing_and_the_number_is_kept(
    sampler: str, trials: int
) -> None:
    sweep = searching(sampler, trials)
    for stop in (3, trials - 5, trials - 1):
        before = drained(strategy(sweep), [], workers=4, most=stop)
        resumed = strategy(sweep, before)
        after = drained(resumed, before, workers=4)
        assert len({r.trial.id for r in before + after}) == trials
        assert resumed.done
        finished = [t for t in resumed.study.trials if t.state is not TrialState.FAIL]
        assert len(finished) == sum(r.status != "failed" for r in before + after)


def test_what_lacks_a_seed_is_finished_with_several_workers_too() -> None:
    sweep = searching("tpe", 20, seeds=[0, 1])
    before = drained(strategy(sweep), [], workers=5, most=33)
    seeds = Counter(str(r.trial.method) for r in before)
    torn = {method for method, number in seeds.items() if number == 1}
    after = drained(strategy(sweep, before), before, workers=5)
    assert len(before + after) == 40
    assert torn and torn <= {str(r.trial.method) for r in after}


def test_records_of_a_search_that_asked_for_other_things_are_learnt_from() -> None:
    """Another sampler's, or an older version's: no more is paid for than ``trials`` says."""
    before = drained(strategy(searching("random", 9)), [])
    resumed = strategy(searching("nsga2", 14), before)
    assert len(drained(resumed, before)) == 5
    assert [t.system_attrs["NSGAIISampler:generation"] for t in resumed.study.trials] == [0] * 14


def test_failures_that_were_taken_back_are_asked_for_again() -> None:
    whole = drained(strategy(searching("tpe", 12)), [])
    kept = [r for r in whole if r.status != "failed"]
    failed = next(r for r in whole if r.status == "failed")
    assert failed.trial in [r.trial for r in drained(strategy(searching("tpe", 12), kept), kept)]
