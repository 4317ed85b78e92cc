"""A driver that is killed at any moment, many times over: no finished trial is lost, none runs twice."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from databases import Server
from harness import Run, Undisturbed
from kills import Killing, Tally

Count = Callable[..., None]


def judged(tally: Tally, count: Count, what: str, rounds: int) -> None:
    """Count what was seen, then refuse whatever should not have been."""
    count(what, **tally.figures())
    assert tally.clean(), tally
    assert tally.kills.total() == rounds
    assert tally.executions <= tally.trials + tally.cut_short
    assert tally.records_at_risk > 0 or rounds < 10  # a few kills may all fall before the first record


@pytest.mark.timeout(0)
def test_a_driver_killed_at_any_moment_loses_and_repeats_nothing(
    undisturbed: Undisturbed, tmp_path: Path, rng: Random, pytestconfig: pytest.Config, count: Count
) -> None:
    rounds = pytestconfig.getoption("--rounds")
    killing = Killing(lambda i: Run(tmp_path / str(i)), rng, undisturbed.records, undisturbed.startup)
    judged(killing.go(rounds), count, "driver killed, worker processes, SQLite", rounds)


@pytest.mark.ray
@pytest.mark.timeout(0)
def test_a_driver_on_ray_killed_at_any_moment_loses_and_repeats_nothing(
    undisturbed: Undisturbed, tmp_path: Path, rng: Random, pytestconfig: pytest.Config, count: Count
) -> None:
    rounds = max(1, pytestconfig.getoption("--rounds") // 5 - 3)
    on_ray = Killing(lambda i: Run(tmp_path / str(i), use_ray=True), rng, undisturbed.records, 2 * undisturbed.startup)
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
        lambda i: Run(tmp_path / str(i), store=postgres.url()), rng, undisturbed.records, undisturbed.startup
    )
    judged(killing.go(rounds), count, "driver killed, worker processes, PostgreSQL", rounds)
