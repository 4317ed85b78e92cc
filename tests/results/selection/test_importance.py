"""Importance: it finds the setting that matters, and says why where it cannot."""

import random
from typing import Any

import pytest
from synthetic import tuned

from results.selection.importance import importance
from trials.spec import Record, Scalar


def swept(n: int, eta: Any, seed: int = 0) -> list[Record]:
    rng, found = random.Random(seed), []
    for _ in range(n):
        params: dict[str, Scalar] = {
            "lr": 10 ** rng.uniform(-3, -1),
            "kappa": rng.random(),
            "slol": rng.choice("ab"),
        }
        value = eta(params) if callable(eta) else eta
        found.append(
            tuned([(0, 0.95, 1.0), (50, 0.94, value)], "tuning", "nad", {**params, "fixed": 1})
        )
    return found


def test_the_setting_that_decides_comes_first_and_shares_sum_to_one() -> None:
    for name in ("lr", "kappa"):
        top = {"lr": lambda p: min(1.0, p["lr"] * 10), "kappa": lambda p: p["kappa"]}[name]
        found = importance(swept(60, top))["nad"]
        assert found.shares is not None
        assert next(iter(found.shares)) == name
        assert sum(found.shares.values()) == pytest.approx(1)
        assert set(found.shares) == {"lr", "kappa", "slol"}
        assert found.n == 60


def test_order_of_records_does_not_matter() -> None:
    records = swept(30, lambda p: p["kappa"])
    a, b = importance(records)["nad"], importance(records[::-1])["nad"]
    assert a.shares == pytest.approx(b.shares)


@pytest.mark.parametrize(
    ("records", "why"), [(swept(4, 0.5), "needed"), (swept(12, 0.5), "same ASR")]
)
def test_too_little_to_say_is_said_with_its_reason(records: list[Record], why: str) -> None:
    found = importance(records)["nad"]
    assert found.shares is None
    assert why in found.reason


def test_nothing_varied_is_no_importance() -> None:
    found = importance([tuned([(0, 0.95, 1.0)], "tuning", "none")])["none"]
    assert (found.shares, found.reason) == (None, "no setting was varied")
    assert importance([]) == {}
