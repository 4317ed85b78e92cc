"""The scheduler runs nothing twice, loses nothing, and tells a strategy only what is stored."""

import pytest
import tiny_sweep
from planned import drained, record, whole

from results.store import Store
from sweep.execution.progress import Aborted, Progress
from sweep.execution.scheduler import Scheduler
from sweep.planning import expansion
from sweep.planning.stages import stages
from sweep.planning.strategy import ListStrategy
from trials.spec import Record, Trial


def trials(number: int = 2) -> list[Trial]:
    return expansion.copies(tiny_sweep.sweep(tuning={"copies": number}))


def scheduler(store: Store, *strategies: ListStrategy, attempts: int = 3) -> Scheduler:
    return Scheduler(iter([list(strategies)]), store, "tiny", attempts)


def test_a_stored_trial_is_not_handed_out_but_told_and_linked(store: Store) -> None:
    first, second = trials()
    store.put(record(first))
    strategy = ListStrategy("a", [first, second])
    s = scheduler(store, strategy)
    assert drained(s) == [second]
    assert strategy.done
    assert (s.progress.stored, s.progress.done) == (1, 1)
    assert {r.trial.id for r in store.records("tiny")} == {first.id, second.id}


def test_equal_trials_of_two_strategies_run_once_and_both_hear(store: Store) -> None:
    strategies = ListStrategy("a", trials()), ListStrategy("b", trials())
    assert len(drained(scheduler(store, *strategies))) == 2
    assert all(w.done for w in strategies)


def test_strategies_take_turns(store: Store) -> None:
    some = trials(4)
    order = drained(scheduler(store, ListStrategy("a", some[:2]), ListStrategy("b", some[2:])))
    assert order == [some[0], some[2], some[1], some[3]]


def test_a_lost_trial_is_handed_out_again_and_then_given_up(store: Store) -> None:
    (trial,) = trials(1)
    s = scheduler(store, ListStrategy("a", [trial]), attempts=3)
    for _ in range(3):
        assert s.next() == trial
        assert s.next() is None
        assert not s.over
        s.worker_lost(trial, "killed by signal 9")
    assert s.next() is None
    assert s.over
    kept = store.get(trial.id)
    assert kept is not None
    assert kept.status == "failed"
    assert "killed by signal 9" in str(kept.error)
    assert (s.progress.worker_lost, s.progress.failed) == (3, 1)
    assert not s.progress.running


def test_a_lost_trial_that_then_finishes_is_done(store: Store) -> None:
    (trial,) = trials(1)
    s = scheduler(store, ListStrategy("a", [trial]))
    s.next()
    s.worker_lost(trial, "x")
    assert drained(s) == [trial]
    assert (s.progress.worker_lost, s.progress.failed, s.progress.done) == (1, 0, 1)


def test_trials_of_a_failed_victim_are_blocked_and_not_stored(store: Store) -> None:
    sweep = tiny_sweep.sweep()
    s = Scheduler(stages(sweep, store), store, "tiny")
    ran = drained(s, lambda t: record(t, status="failed"))
    assert [t.game.name for t in ran] == ["training"]
    assert s.progress.blocked == 1 + 4
    assert len(store.records("tiny")) == 1


def test_a_failed_copy_blocks_what_needs_it_and_nothing_else(store: Store) -> None:
    sweep = tiny_sweep.sweep(trusted=[0.1, 0.2])
    s = Scheduler(stages(sweep, store), store, "tiny")
    ran = drained(
        s,
        lambda t: record(
            t, status="failed" if t.game.name == "self_poison" and t.trusted == 0.1 else "done"
        ),
    )
    assert {t.trusted for t in ran if t.method} == {0.2}
    assert s.progress.blocked == 4


def test_after_the_failure_is_forgotten_the_blocked_run(store: Store) -> None:
    sweep = tiny_sweep.sweep()
    whole(sweep, store, lambda t: record(t, status="failed"))
    assert not whole(sweep, store)
    store.forget([r.trial.id for r in store.records("tiny")])
    assert len(whole(sweep, store)) == 1 + 1 + 4 + 1 + 2  # the best confirmed, two winners judged


def test_a_second_pass_runs_nothing(store: Store) -> None:
    sweep = tiny_sweep.sweep()
    assert whole(sweep, store)
    s = Scheduler(stages(sweep, store), store, "tiny")
    assert not s.waiting()
    assert s.over
    assert (s.progress.done, s.progress.stored) == (0, s.progress.planned)


def test_looking_whether_something_waits_starts_nothing(store: Store) -> None:
    heard: list[str] = []

    def reporter(event: str, trial: Trial, progress: Progress, record: Record | None) -> None:
        heard.append(event)

    (trial,) = trials(1)
    s = Scheduler(iter([[ListStrategy("a", [trial])]]), store, "tiny", 1, reporter)
    assert s.waiting()
    assert s.waiting()
    assert not heard
    assert not s.progress.running
    assert s.next() == trial
    s.worker_lost(trial, "x")  # the only attempt
    assert heard == ["start", "finish"]


def test_a_record_is_stored_before_its_strategy_hears(store: Store) -> None:
    (trial,) = trials(1)

    class Asking(ListStrategy):
        seen: Record | None = None

        def tell(self, record: Record) -> None:
            self.seen = store.get(trial.id)
            super().tell(record)

    strategy = Asking("a", [trial])
    drained(scheduler(store, strategy))
    assert strategy.seen is not None


def test_a_record_that_cannot_be_stored_is_told_to_nobody(store: Store) -> None:
    (trial,) = trials(1)
    strategy = ListStrategy("a", [trial])
    s = scheduler(store, strategy)
    s.next()
    with pytest.raises(ValueError, match="finite"):
        s.finish(Record(trial=trial, status="done", metrics={"cda": float("nan")}))
    assert not strategy.done
    assert store.get(trial.id) is None


def test_a_stored_trial_whose_artifact_is_gone_runs_again(store: Store) -> None:
    (trial,) = trials(1)
    store.put(record(trial))
    s = Scheduler(iter([[ListStrategy("a", [trial])]]), store, "tiny", usable=lambda _: False)
    assert drained(s) == [trial]


def test_counts_add_up_to_the_plan(store: Store) -> None:
    sweep = tiny_sweep.sweep(trusted=[0.1, 0.2])
    whole(tiny_sweep.sweep(trusted=0.1), store)
    s = Scheduler(stages(sweep, store), store, "tiny")
    drained(
        s,
        lambda t: record(
            t, status="failed" if t.method and t.method.name == "fine_tuning" else "done"
        ),
    )
    p = s.progress
    assert p.planned == p.done + p.failed + p.pruned + p.stored + p.blocked
    assert p.failed == 2


def test_a_worker_is_given_what_it_has_loaded_and_others_something_else(store: Store) -> None:
    sweep = tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "seeds": [0, 1]}, seeds=[0, 1])
    configs = expansion.configurations(sweep, sweep.defenses[0])[:2]
    strategies = [
        ListStrategy("a", [t for c in configs for t in expansion.trials_of(sweep, task, c)])
        for task in expansion.tasks(sweep)
    ]
    s = scheduler(store, *strategies)
    one, two = s.next(), s.next()
    assert one and two
    assert one.victim != two.victim
    handed = [one]
    while (trial := s.next(near=handed[-1])) is not None and len(handed) < 4:
        handed.append(trial)
    assert {t.victim.id for t in handed} == {one.victim.id}
    assert [t.seed for t in handed] == [0, 0, 1, 1]  # on the same copies first
    assert trial is not None  # then the other victim's, rather than nothing
    assert trial.victim == two.victim


def test_too_large_a_share_of_failures_stops_the_sweep(store: Store) -> None:
    some = trials(30)
    s = Scheduler(iter([[ListStrategy("a", some)]]), store, "tiny", abort_at=0.5)
    ran = drained(s, lambda t: record(t, status="failed" if some.index(t) % 2 else "done"))
    assert len(ran) == 10
    assert s.over
    with pytest.raises(Aborted, match="5 of 10 finished trials failed"):
        s.check()
    s = Scheduler(iter([[ListStrategy("a", some)]]), store, "tiny", abort_at=0.5)
    assert len(drained(s)) == 20
    s.check()
