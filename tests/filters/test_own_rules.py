"""STRIP, PSBD and ABL: what their own rules call suspect follows from the scores."""

import pytest
import torch
from scored_rows import Attacked

from trials.filters.psbd import RATES
from trials.spec import SpecError


@pytest.mark.parametrize("name", ["strip", "psbd"])
def test_a_higher_quantile_of_the_trusted_images_suspects_more(
    name: str, attacked: Attacked
) -> None:
    few, many = (attacked.scored(name, quantile=q) for q in (0.05, 0.6))
    assert torch.equal(few.scores, many.scores)
    assert few.suspects is not None and many.suspects is not None
    assert (many.suspects | ~few.suspects).all()
    assert int(many.suspects.sum()) > int(few.suspects.sum())
    assert many.scores[many.suspects].min() > many.scores[~many.suspects].max()


def test_entropies_are_those_of_ten_classes(attacked: Attacked) -> None:
    entropies = -attacked.scored("strip").scores
    assert entropies.min() >= 0 and entropies.max() <= torch.log(torch.tensor(10.0))


def test_the_rate_of_dropout_is_the_least_that_changes_enough(attacked: Attacked) -> None:
    rates = [attacked.scored("psbd", shifted=s).extra["rate"] for s in (0.01, 0.5, 1.0)]
    assert rates == sorted(rates) and set(rates) <= set(RATES)
    assert rates[0] < rates[-1] == RATES[-1]  # at the highest some predictions stay


def test_the_model_drops_nothing_any_more_afterwards(attacked: Attacked) -> None:
    attacked.scored("psbd", attacked.view)
    x = attacked.view.train.x[:8].float() / 255
    model = attacked.view.trained()
    assert torch.equal(model(x), model(x))
    assert not [m for m in model.modules() if m._forward_hooks]


def test_isolation_takes_the_lowest_losses(attacked: Attacked) -> None:
    found = attacked.scored("abl", tracked_epochs=2, epochs=2, isolated=0.05)
    assert found.suspects is not None
    assert int(found.suspects.sum()) == int(0.05 * len(found.scores))
    assert found.scores[found.suspects].min() >= found.scores[~found.suspects].max()
    with pytest.raises(SpecError, match=r"abl: epochs = 3 of 2 that are tracked"):
        attacked.scored("abl", tracked_epochs=2, epochs=3)
