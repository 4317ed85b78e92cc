"""BaDLoss: distances between loss trajectories, and what each setting makes of one tracking."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from scored_rows import Attacked
from torch import Tensor

from trials.filters.badloss import compared, steady, to_nearest
from trials.spec import SpecError


def tracks(rows: int = 200, epochs: int = 30) -> Tensor:
    """Trajectories that fall slowly, each a little differently."""
    rng = torch.Generator().manual_seed(0)
    fall = torch.linspace(2.3, 0.2, epochs)
    return fall + 0.05 * torch.randn(rows, epochs, generator=rng)


def test_a_probe_is_at_no_distance_from_itself() -> None:
    found = tracks()
    assert to_nearest(found[:5], found[:5], 1).abs().max() == 0


def test_what_is_learned_fast_and_what_is_learned_late_stand_out_alike() -> None:
    clean, probes = tracks(180), tracks(100)
    early = torch.zeros(10, 30)  # losses of exactly 0 are rows all the same
    slow = torch.full((10, 30), 2.3)
    scores = to_nearest(torch.cat([clean, early, slow]), probes, 10)
    assert set(scores.topk(20).indices.tolist()) == set(range(180, 200))


def test_the_logarithm_shows_what_is_learned_fast_where_hard_clean_images_rule_the_loss() -> None:
    rng = torch.Generator().manual_seed(0)
    hardness = torch.exp(1.5 * torch.randn(280, 1, generator=rng))
    clean, early = torch.logspace(0.0, -2, 30) * hardness, torch.logspace(-3, -5, 30).expand(20, 30)
    rows, probes = torch.cat([clean[:180], early]), clean[180:]

    def places(metric: str) -> Tensor:
        far = to_nearest(compared(rows, metric), compared(probes, metric), 50)
        return far.argsort().argsort()[180:]

    assert places("loss").max() < 140  # of 200
    assert places("log_loss").min() >= 170


def test_a_shift_of_one_epochs_losses_changes_no_rank() -> None:
    rows, probes, shift = tracks(), tracks(50), torch.zeros(30)
    shift[7] = 3.0
    plain, moved = to_nearest(rows, probes, 5), to_nearest(rows + shift, probes + shift, 5)
    assert torch.allclose(plain, moved, atol=1e-5)


def test_rows_in_chunks_are_as_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = to_nearest(tracks(), tracks(50), 5)
    monkeypatch.setattr("trials.filters.badloss._CHUNK", 7)
    assert torch.equal(to_nearest(tracks(), tracks(50), 5), whole)


@pytest.mark.parametrize(
    ("means", "taken"),
    [
        ([3.0, 2.0, 1.0, 0.9, 5.0, 0.8], [0, 1, 2, 3, 5]),
        ([0.1, 9.0, 0.1, 0.1], [0, 1, 2, 3]),  # the first three always count
        ([1.0, 1.0, 1.0, 2.0, 1.99], [0, 1, 2, 4]),
        ([1.0], [0]),
    ],
)
def test_an_epoch_of_twice_the_last_three_taken_is_a_spike(
    means: list[float], taken: list[int]
) -> None:
    assert steady(torch.tensor(means)) == taken


def test_leaving_spikes_out_says_something_else_where_there_is_one_alone(
    attacked: Attacked,
) -> None:
    keep = attacked.view.keep

    def spiked(name: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        losses = keep(name, make)["losses"].clone()
        losses[::2, 5] += 100.0
        return {"losses": losses}

    settings = {"tracked_epochs": 8, "epochs": 8}
    out, kept = (attacked.scored("badloss", spikes=s, **settings) for s in ("left_out", "kept"))
    assert torch.equal(out.scores, kept.scores) and out.extra == {"epochs_used": 8.0}
    view = replace(attacked.view, keep=spiked)
    out = attacked.scored("badloss", view, spikes="left_out", **settings)
    kept = attacked.scored("badloss", view, spikes="kept", **settings)
    assert not torch.equal(out.scores, kept.scores) and out.extra == {"epochs_used": 7.0}


def test_fewer_epochs_are_the_first_of_a_longer_tracking(attacked: Attacked) -> None:
    short = attacked.scored("badloss", tracked_epochs=3, epochs=3)
    longer = attacked.scored("badloss", tracked_epochs=8, epochs=3)
    assert torch.allclose(short.scores, longer.scores, atol=1e-5)


def test_a_tracking_is_made_once(attacked: Attacked) -> None:
    attacked.scored("badloss", tracked_epochs=3, epochs=3)

    def refused(seed: int) -> torch.nn.Module:
        raise AssertionError(f"another model was asked for, with the seed {seed}")

    view = replace(attacked.view, fresh=refused)
    attacked.scored("badloss", view, tracked_epochs=3, epochs=2, k=3, metric="probability")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"k": 101}, r"k = 101 nearest of 100 probes: lower k, or raise probes\."),
        ({"probes": 1000}, r"probes = 1000, but there are 360 trusted images"),
        ({"epochs": 16}, r"epochs = 16 of 15 that are tracked"),
    ],
)
def test_what_cannot_be_is_one_line(
    settings: dict[str, int], says: str, attacked: Attacked
) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        attacked.scored("badloss", **settings)
    assert "\n" not in str(caught.value)
