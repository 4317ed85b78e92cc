"""An attack of the defender's that a model did not learn is drawn again, stronger."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
import torch
from torch import Generator, nn

from trials import catalog
from trials.data_views import SelfPoisonDataContext, own_rows_in
from trials.datasets import digits
from trials.dependencies import filtering_of, own_rows_of, training_of
from trials.games.self_poison_data import play
from trials.metrics import accuracy, success
from trials.models import small_cnn
from trials.run import run
from trials.runtime import TrialRuntime, generator
from trials.self_poisoning.own_rows import LEAST, OwnRows, own_rows
from trials.spec import LEARNED, Filtering, MethodConfig, SpecError, Victim
from trials.storage.artifacts import Artifacts
from trials.train import cross_entropy, to_float
from trials.types import Images


def trusted() -> Images:
    return digits.load("train", size=16).take(torch.arange(300))


def planted(*redrawn: int, seed: int = 0, n: int = 1000) -> OwnRows:
    given: dict[str, Any] = {"attacks": 3, "least": 0.001, "most": 0.02, "kinds": "all"}
    return own_rows(trusted(), n, lambda *s: generator(seed, *s), **given, redrawn=redrawn)


def of(rows: OwnRows, attack: int) -> Images:
    return rows.rows.take(rows.number == attack)


def test_what_is_drawn_again_has_more_rows_and_another_trigger_and_the_others_stay() -> None:
    first, again = planted(), planted(0, 0, 2)
    for attack in (0, 1):
        assert torch.equal(of(first, attack).x, of(again, attack).x)
    assert len(of(again, 2)) == 4 * len(of(first, 2)) == 4 * LEAST
    assert again.redrawn == (0, 0, 2) and first.redrawn == (0, 0, 0)
    blends = [rows.goals[2].trigger for rows in (first, again)]
    assert blends[1].alpha >= 0.15 * 1.5**2 > 0.3 >= blends[0].alpha  # type: ignore[attr-defined]
    assert first.goals[2].target == again.goals[2].target


def test_each_draw_has_twice_the_rows_and_half_more_strength_whatever_came_first() -> None:
    for seed in range(8):
        drawn = [planted(0, k, k, seed=seed, n=10_000) for k in range(3)]
        for attack in (1, 2):
            rows = [len(of(one, attack)) for one in drawn]
            assert rows == [rows[0], 2 * rows[0], 4 * rows[0]]
            strengths = [float(one.goals[attack].trigger.alpha) for one in drawn]  # type: ignore[attr-defined]
            wanted = [min(1, strengths[0] * 1.5**k) for k in range(3)]
            assert strengths == pytest.approx(wanted)


def fit(model: nn.Module, images: Images, rng: Generator) -> Iterator[tuple[int, int, float]]:
    """Trains on the defender's images alone, and only once there are more than at first."""
    few = 2 * LEAST + 120  # 90 of the images are held back
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(0 if len(images) < few else 60):
        order = torch.randperm(len(images), generator=rng)[:64]
        optimizer.zero_grad()
        loss = cross_entropy(model, to_float(images.x[order]), images.y[order])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield step + 1, 60, float(loss.detach())


def never(model: nn.Module, images: Images, rng: Generator) -> Iterator[tuple[int, int, float]]:
    return iter(())


def played(redraws: int, fit: Any = fit) -> tuple[dict[str, float], dict[str, Any]]:
    metrics, facts, _ = with_model(redraws, fit)
    return metrics, facts


def with_model(redraws: int, fit: Any) -> tuple[dict[str, float], dict[str, Any], nn.Module]:
    saved: list[tuple[nn.Module, dict[str, Any]]] = []

    def fresh() -> nn.Module:
        torch.manual_seed(0)
        return small_cnn.build(10, 16, width=8)

    ctx = SelfPoisonDataContext(
        trusted=trusted(),
        n=1000,
        fresh=fresh,
        fit=fit,
        device="cpu",
        rng=lambda *s: generator(0, *s),
        save=lambda model, facts: saved.append((model, facts)),
    )
    steps = play(ctx, attacks=2, kinds="flipped", redraws=redraws)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            model, facts = saved[-1]
            return end.value, facts, model


def test_a_round_in_which_more_is_learned_is_kept_and_it_ends_there() -> None:
    metrics, facts = played(5)
    assert metrics["rounds"] == 2 and facts["redrawn"] == [1, 1]
    assert min(facts["asr"]) >= LEARNED and metrics["m/patch"] == 2 * LEAST
    assert metrics["redrawn/patch"] == metrics["redrawn/blend"] == 1


def test_what_is_learned_shows_on_images_that_no_training_sees() -> None:
    metrics, facts, model = with_model(5, fit)
    rows = own_rows(
        trusted(),
        1000,
        lambda *s: generator(0, *s),
        attacks=2,
        least=0.001,
        most=0.02,
        kinds="flipped",
        redrawn=facts["redrawn"],
    )
    assert metrics["n_clean"] == len(rows.probes) == 120
    on_probes = [success(model, goal.cases(rows.probes)) for goal in rows.goals]
    assert facts["asr"] == on_probes
    assert metrics["cda"] == accuracy(model, rows.probes)


def test_where_no_round_helps_the_first_draws_stay() -> None:
    metrics, facts = played(2, never)
    assert metrics["rounds"] == 3 and facts["redrawn"] == [0, 0]
    assert metrics["m/patch"] == LEAST
    assert played(0)[0]["rounds"] == 1


# In a trial.


def victim(redraws: int) -> Victim:
    training = {"name": "fast", "epochs": 1, "batch": 64, "peak": 0.001}  # learns nothing
    given = {**tiny_sweep.VICTIM, "reserve": 0.3, "attacks": "none", "training": training}
    (plain,) = tiny_sweep.sweep(victim=given).victims
    own = MethodConfig("self_poison_data", {"attacks": 1, "kinds": "patch", "redraws": redraws})
    filtering = Filtering(
        method=MethodConfig("spectral_signatures"),
        reject="recall",
        trusted=0.3,
        seed=0,
        self_poisoning=own,
    )
    return catalog.resolve_victim(
        Victim(
            dataset=plain.dataset,
            model=plain.model,
            attacks=plain.attacks,
            training=plain.training,
            seed=0,
            reserve=plain.reserve,
            filter=filtering,
        )
    )


def test_a_filter_is_shown_the_rows_that_the_kept_model_was_trained_with(tmp_path: Path) -> None:
    runtime, given = TrialRuntime(Artifacts(tmp_path)), victim(1)
    record = run(own_rows_of(given), runtime)
    assert record.status == "done", record.error
    assert (
        record.metrics["rounds"] == 2
    )  # a patch of 40 rows in one epoch at a rate of a thousandth
    own = own_rows_in(filtering_of(given), runtime)
    assert own is not None
    assert own.rows.redrawn == (int(record.metrics["redrawn/patch"]),)
    assert len(own.rows.rows) == record.metrics["m/patch"]
    assert run(training_of(victim(1)), runtime).status == "failed"  # its filter has not run


def test_without_redraws_the_trial_is_what_it_was() -> None:
    params = own_rows_of(victim(0)).game.identity()["params"]
    assert "redraws" not in params
    assert own_rows_of(victim(1)).game.identity()["params"]["redraws"] == 1


def test_before_anything_ran_the_first_draws_are_taken(tmp_path: Path) -> None:
    runtime = TrialRuntime(Artifacts(tmp_path))
    own = own_rows_in(filtering_of(victim(1)), runtime, ahead=True)
    assert own is not None and own.rows.redrawn == (0,)
    with pytest.raises(SpecError, match="redraws must be"):
        victim(-1)
