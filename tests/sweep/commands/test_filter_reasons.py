"""Each removed image has its own reason, and what is kept for its class's sake says so."""

from typing import Any

from sweep.commands.filter_reasons import reasons
from trials.spec import Filtering, MethodConfig

SCORES, LABELS = [0.1, 0.9, 0.7, 0.95, 0.2], [0, 0, 0, 1, 1]
KEPT = [True, False, False, True, False]  # of class 1 the score .95 is kept


def said(reject: float | str, **threshold: Any) -> list[str]:
    filtering = Filtering(
        method=MethodConfig("badloss"), reject=reject, trusted=0.1, seed=0, threshold=threshold
    )
    return reasons(SCORES, LABELS, KEPT, filtering)


def test_a_reason_has_the_images_score_and_the_threshold() -> None:
    low, high, middle, spared, last = said("recall", quota="capped")
    assert low == ""
    assert high == "0.9 is at least 0.2, the threshold set by the defender's own poison"
    assert middle.startswith("0.7 is at least 0.2,") and last.startswith("0.2 is at least 0.2,")
    assert spared == "0.95 is above 0.2, but enough of its class is removed"


def test_where_each_class_is_ranked_apart_the_threshold_is_the_classs() -> None:
    _, high, _, spared, last = said(0.4, quota="within")
    assert high == "0.9 is at least 0.7, the threshold of 40.0 % of all images of its class"
    assert last.startswith("0.2 is at least 0.2,")
    assert spared == "0.95 is above 0.2 of its class, but enough of its class is removed"


def test_a_filters_own_rule_has_no_threshold_of_ours() -> None:
    assert said("own")[1] == "the filter's own rule suspects it (score 0.9)"
    assert said("own")[3] == ""


def test_nothing_removed_needs_no_reason() -> None:
    filtering = Filtering(method=MethodConfig("badloss"), reject=0.1, trusted=0.1, seed=0)
    assert reasons(SCORES, LABELS, [True] * 5, filtering) == [""] * 5
