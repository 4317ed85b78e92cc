"""What ``filter`` says of the defender's own poison, and why it is not sure."""

from pathlib import Path
from typing import Any

import pytest

from results.selection.filter_winner import FilterWinner
from sweep.commands.filter_repair import repair_of
from sweep.commands.filter_verdict import said_of
from trials.runtime import TrialRuntime
from trials.spec import Filtering, MethodConfig, Record, Trial, Victim
from trials.storage.artifacts import Artifacts

MOST = "Most of the defender's attacks were not learned"


def told(*, learned: int = 2, recall: float = 0.6, **seen: float) -> dict[str, Any]:
    """Of a filter that finds a patch and a sinusoid, ``seen`` but for what is said otherwise."""
    given = Filtering(method=MethodConfig("scan"), reject="recall", trusted=1.0, seed=0)
    metrics = {"own_fpr": 0.05, "removed": 0.1, "own_learned": float(learned), "own_promised": 0.5}
    metrics |= {"own_recall": recall, "own_recall_min": recall}
    for i, name in enumerate(("patch", "sinusoid")):
        metrics |= {f"own_recall/{name}": 1.0, f"own_learned/{name}": float(i < learned)}
        metrics |= {f"own_promised/{name}": 0.5, f"own_images/{name}": 30.0}
        metrics |= {f"own_m/{name}": 40.0}
    metrics |= {name.replace("__", "/"): value for name, value in seen.items()}
    game = MethodConfig("filtering", {"beta": 0.1})
    of = Victim(
        dataset=MethodConfig("digits"),
        model=MethodConfig("resnet18"),
        attacks=(),
        training=MethodConfig("fast"),
        seed=0,
        filter=given,
    )
    trial = Trial(game=game, victim=of, method=None, trusted=1.0, seed=0)
    return said_of(FilterWinner(scored=Record(trial=trial, status="done", metrics=metrics)))


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ({"own_images__sinusoid": 2.0}, ["sinusoid is on 2 of their images", "fewer than 3"]),
        (
            {"own_recall__patch": 0.8, "own_promised__patch": 0.9},
            ["of patch it finds 80.0 %, fewer than 90.0 %"],
        ),
    ],
)
def test_where_all_were_learned_the_attack_that_is_not_surely_found_is_named(
    seen: dict[str, float], says: list[str]
) -> None:
    found = told(**seen)  # type: ignore[arg-type]
    assert found["verdict"] == "not sure" and MOST not in found["said"][1]
    assert [part for part in says if part not in found["said"][1]] == []


def test_attacks_that_were_not_learned_are_the_reason_where_they_are() -> None:
    unlearned = {"own_learned/more": 0.0, "own_recall/more": 1.0}
    found = told(learned=1, **{k.replace("/", "__"): v for k, v in unlearned.items()})
    assert found["verdict"] == "not sure" and MOST in found["said"][1]


def test_where_the_first_filters_own_model_failed_no_repair_is_said_to_be_untried(
    tmp_path: Path,
) -> None:
    found = repair_of(None, True, TrialRuntime(Artifacts(tmp_path)))
    (said,) = found.said
    assert found.facts == {"applied": False} and found.model is None
    assert "the first filter" in said and "failed" in said and "tried" not in said
