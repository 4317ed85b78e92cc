"""The rule budget tries shares of the rows as they will be removed."""

from dataclasses import replace
from typing import Any

import torch
from torch import Generator, nn

from trials.datasets import digits
from trials.filtering import FilteringContext
from trials.games.filtering import removed
from trials.models import small_cnn
from trials.runtime import generator
from trials.self_poisoning.own_rows import own_rows
from trials.types import Poisoning
from trials.views import DataView, SampleScores

CAP, N = 0.05, 900


def test_no_class_loses_more_than_its_cap_while_shares_are_tried() -> None:
    digits_of = digits.load("train", size=16)
    train, trusted = digits_of.take(torch.arange(N)), digits_of.take(torch.arange(N, N + 300))
    own = own_rows(
        trusted,
        N,
        lambda *s: generator(0, *s),
        attacks=2,
        least=0.001,
        most=0.02,
        kinds="flipped",
    )
    tried: list[Poisoning] = []

    def fit(model: nn.Module, poisoning: Poisoning, rng: Generator) -> nn.Module:
        tried.append(poisoning)
        return model.eval()

    def fresh(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return small_cnn.build(10, 16, width=8)

    def unused(*_: Any) -> Any:
        raise AssertionError("no other model is looked at")

    view = DataView(
        train=own.among(train),
        trusted=own.probes,
        fresh=fresh,
        fit=fit,
        trained=unused,
        keep=unused,
    )
    ctx = FilteringContext(
        view=view,
        score=unused,
        poisoning=Poisoning(train),
        rows=torch.arange(N),
        reject="budget",
        rng=lambda *s: generator(0, *s),
        save=unused,
        own=own,
        learned=(1.0, 1.0),
    )
    scores = SampleScores(torch.rand(len(view.train), generator=generator(0, "scores")))
    gone = removed(ctx, scores, beta=0.1, quota="capped", cap=CAP, delta=1.0)
    sizes = [len(p.train) for p in tried]
    assert len(sizes) == 5 and sizes[0] == N + len(own.rows)
    assert min(sizes) >= (1 - CAP) * N
    whole = removed(replace(ctx, reject=0.4), scores, beta=0.1, quota="global", cap=1.0, delta=1.0)
    assert int(gone[:N].sum()) <= CAP * N < int(whole[:N].sum()) == 0.4 * N
