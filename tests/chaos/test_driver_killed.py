"""A driver that is killed at any moment, many times over: no finished trial is lost, none runs
twice.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from databases import Server
from harness import Run, Undisturbed, defense, spec_with, undisturbed_run, victim_with
from kills import Killing, Tally

Count = Callable[..., None]


def judged(tally: Tally, count: Count, what: str, rounds: int) -> None:
    """Count what was seen, then refuse whatever should not have been."""
    count(what, **tally.figures())
    assert tally.clean(), tally
    assert tally.kills.total() == rounds
    assert tally.executions <= tally.trials + tally.cut_short
    # a few kills may all fall before the first record
    assert tally.records_at_risk > 0 or rounds < 10


@pytest.mark.timeout(0)
def test_a_driver_killed_at_any_moment_loses_and_repeats_nothing(
    undisturbed: Undisturbed, tmp_path: Path, rng: Random, pytestconfig: pytest.Config, count: Count
) -> None:
    rounds = pytestconfig.getoption("--rounds")
    killing = Killing(
        lambda i: Run(tmp_path / str(i)), rng, undisturbed.records, undisturbed.startup
    )
    judged(killing.go(rounds), count, "driver killed, worker processes, SQLite", rounds)


@pytest.mark.timeout(0)
def test_a_driver_killed_at_any_moment_does_not_change_what_its_searches_try(
    tmp_path: Path, rng: Random, pytestconfig: pytest.Config, count: Count
) -> None:
    """One worker, in a process of its own; each search goes on long enough to depend on what it has
    learnt.
    """
    rounds = max(4, pytestconfig.getoption("--rounds") // 4)
    searches = [search("weight_decay", "tpe", 14), search("fine_tuning", "gp", 13)]
    compute = {"device": "cpu", "workers": 1, "time_limit": 60}
    spec = spec_with(
        tmp_path, seeds=[0], victim=victim_with(seeds=[0]), defenses=searches, compute=compute
    )
    whole = undisturbed_run(Run(tmp_path / "whole", spec))
    # one may be asked for twice
    assert 25 <= sum(r.trial.game.name == "tuning" for r in whole.records.values()) <= 27
    killing = Killing(lambda i: Run(tmp_path / str(i), spec), rng, whole.records, whole.startup)
    judged(
        killing.go(rounds), count, "driver of searches killed, one worker process, SQLite", rounds
    )


def search(name: str, sampler: str, trials: int) -> dict[str, Any]:
    return {
        **defense(name),
        "strategy": "search",
        "sampler": sampler,
        "trials": trials,
        "objectives": ["cda_loss"],
    }


@pytest.mark.ray
@pytest.mark.timeout(0)
def test_a_driver_on_ray_killed_at_any_moment_loses_and_repeats_nothing(
    undisturbed: Undisturbed, tmp_path: Path, rng: Random, pytestconfig: pytest.Config, count: Count
) -> None:
    rounds = max(1, pytestconfig.getoption("--rounds") // 5 - 3)
    on_ray = Killing(
        lambda i: Run(tmp_path / str(i), use_ray=True),
        rng,
        undisturbed.records,
        2 * undisturbed.startup,
    )
    judged(on_ray.go(rounds), count, "driver killed, Ray, SQLite", rounds)


@pytest.mark.postgres
@pytest.mark.timeout(0)
def test_a_driver_on_postgresql_killed_at_any_moment_loses_and_repeats_nothing(
    postgres: Server,
    undisturbed: Undisturbed,
    tmp_path: Path,
    rng: Random,
    pytestconfig: pytest.Config,
    count: Count,
) -> None:
    rounds = max(2, pytestconfig.getoption("--rounds") // 10)
    killing = Killing(
        lambda i: Run(tmp_path / str(i), store=postgres.url()),
        rng,
        undisturbed.records,
        undisturbed.startup,
    )
    judged(killing.go(rounds), count, "driver killed, worker processes, PostgreSQL", rounds)
