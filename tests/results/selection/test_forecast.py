"""What a setting will leave of a real attack: the ranks by hand, what is pooled, and how often the
interval holds.
"""

import math
import random
from collections.abc import Sequence

import pytest

from results.selection.forecast import INVERSION, Known, forecast, scheme_of


def pairs(apart: Sequence[float], family: str = "pruning", victim: str = "v") -> list[Known]:
    """Pairs whose real η is higher than that of copies of 0.5 by these."""
    return [Known(victim, "late", family, 0.5, 0.5 + d) for d in apart]


@pytest.mark.parametrize(
    ("n", "level", "low", "high"),
    [
        (19, 0.9, 0, 18),  # rank ceil(20 * 0.95) = 19 of 19
        (20, 0.9, 0, 19),  # rank ceil(21 * 0.95) = 20 of 20
        (39, 0.9, 1, 37),  # rank ceil(40 * 0.95) = 38 of 39
        (9, 0.8, 0, 8),
        (3, 0.5, 0, 2),
        (7, 0.5, 1, 5),  # rank ceil(8 * 0.75) = 6 of 7
    ],
)
def test_the_interval_is_made_of_the_ranks(n: int, level: float, low: int, high: int) -> None:
    apart = [(i - n / 2) / 100 for i in range(n)]
    shuffled = random.Random(0).sample(apart, n)
    found = forecast(0.5, "pruning", pairs(shuffled), level)
    assert found == pytest.approx((0.5 + apart[low], 0.5 + apart[high]))


@pytest.mark.parametrize(("n", "level"), [(0, 0.9), (1, 0.9), (18, 0.9), (8, 0.8), (2, 0.5)])
def test_too_few_pairs_give_none(n: int, level: float) -> None:
    assert forecast(0.5, "pruning", pairs([0.1] * n), level) is None


def test_the_interval_stays_within_the_possible() -> None:
    known = pairs([-0.4] * 10 + [0.4] * 10)
    assert forecast(0.1, "pruning", known) == pytest.approx((0.0, 0.5))
    assert forecast(0.9, "pruning", known) == pytest.approx((0.5, 1.0))


def test_a_family_with_enough_pairs_stands_for_itself() -> None:
    others = pairs([0.4] * 40, "fine_tuning")
    own = forecast(0.3, "pruning", pairs([0.1] * 19) + others)
    assert own == pytest.approx((0.4, 0.4))
    pooled = forecast(0.3, "pruning", pairs([0.1] * 18) + others)
    assert pooled is not None and pooled.high == pytest.approx(0.7)


def test_a_family_on_too_few_victims_is_pooled_with_others() -> None:
    own = pairs([0.1] * 19, victim="a") + pairs([0.1] * 19, victim="b")
    others = [*pairs([0.2] * 19, "fine_tuning", "c"), *pairs([0.2] * 3, INVERSION, "d")]
    two = forecast(0.3, "pruning", own, victims=2)
    assert two == pytest.approx((0.4, 0.4))
    pooled = forecast(0.3, "pruning", own + others, victims=3)
    assert pooled == pytest.approx((0.4, 0.5))
    assert forecast(0.3, "pruning", own + others, victims=4) is None


def test_inversion_is_never_pooled() -> None:
    inverted, others = pairs([0.45] * 40, INVERSION), pairs([0.0] * 25, "fine_tuning")
    assert forecast(0.3, "pruning", inverted + others) == pytest.approx((0.3, 0.3))
    assert forecast(0.3, "pruning", inverted) is None
    assert forecast(0.3, INVERSION, pairs([0.45] * 18, INVERSION) + others) is None
    assert forecast(0.3, INVERSION, inverted + others) == pytest.approx((0.75, 0.75))


@pytest.mark.parametrize(("n", "level"), [(19, 0.9), (25, 0.9), (60, 0.9), (12, 0.8)])
def test_the_interval_holds_at_least_the_level_of_exchangeable_pairs(n: int, level: float) -> None:
    """Skewed differences that clipping does not touch; a thousand draws of known pairs and a new
    one.
    """
    rng, held, draws = random.Random(n), 0, 1000
    for _ in range(draws):
        apart = [min(rng.expovariate(20), 0.4) - 0.05 for _ in range(n + 1)]
        found = forecast(0.5, "pruning", pairs(apart[1:]), level)
        assert found is not None
        held += found.low <= 0.5 + apart[0] <= found.high
    assert held / draws >= level - 3 * math.sqrt(level * (1 - level) / draws)


def test_a_scheme_with_another_share_of_stamped_images_is_another_scheme() -> None:
    assert scheme_of({}) == "labels"
    assert scheme_of({"scheme": "distilled", "share": 0.1}) == "distilled"
    assert scheme_of({"scheme": "distilled", "share": 0.05}) == "distilled, 5 % stamped"
