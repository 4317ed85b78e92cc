"""The trigger that is reconstructed from a backdoored model."""

from dataclasses import replace

import pytest
import tiny_sweep
import torch

from trials import smooth_inversion
from trials.dependencies import training_of
from trials.mask_inversion import BestMasks
from trials.metrics import success
from trials.reconstruction import reconstruct
from trials.run import run
from trials.runtime import TrialRuntime, generator
from trials.smooth_inversion import MOVE, OPACITY, laid
from trials.spec import SpecError, Trial
from trials.storage.artifacts import Artifacts
from trials.suspicious import SUSPICIOUS, WORKS

BACKDOORED = {
    **tiny_sweep.VICTIM,
    "training": {"name": "fast", "epochs": 15, "batch": 64, "peak": 0.2},
    "attacks": [{"name": "badnets", "m": 150, "target": 3}],
}


@pytest.fixture(scope="module")
def suspect(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialRuntime, Trial]:
    """A small network that learned a patch."""
    runtime = TrialRuntime(Artifacts(tmp_path_factory.mktemp("suspect")))
    trial = tiny_sweep.first(tiny_sweep.sweep(victim=BACKDOORED), "tuning")
    record = run(training_of(trial.victim), runtime)
    assert record.metrics["asr"] > 0.9
    return runtime, trial


def test_the_reconstructed_trigger_works_and_is_alike_in_every_call(
    suspect: tuple[TrialRuntime, Trial],
) -> None:
    runtime, trial = suspect
    view = runtime.defender(trial).view
    before = [p.clone() for p in view.model.state_dict().values()]
    found = reconstruct(view.model, view.trusted, generator(0, "a"))
    cases = found.goal.cases(view.trusted)
    assert success(view.model, cases) > 0.8
    assert (
        cases.x.dtype == torch.uint8
        and not (view.trusted.y[cases.places] == found.goal.target).any()
    )
    again = reconstruct(view.model, view.trusted, generator(0, "a"))
    assert (
        torch.equal(again.goal.cases(view.trusted).x, cases.x) and again.share == found.share <= 1
    )
    assert all(map(torch.equal, before, view.model.state_dict().values()))


def test_a_class_keeps_its_smaller_mask_of_all_searches(
    suspect: tuple[TrialRuntime, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that did not reach its class is not taken, however small."""
    view = suspect[0].defender(suspect[1]).view
    k, (c, h, w) = int(view.trusted.y.max()) + 1, view.trusted.x.shape[1:]
    sizes = [torch.full((k,), 0.5), torch.full((k,), 0.4), torch.full((k,), 0.3)]
    sizes[1][4], sizes[2][7] = 0.1, 0.001
    reached = [torch.ones(k, dtype=torch.bool) for _ in sizes]
    reached[2][7] = False
    searches = iter(
        BestMasks(
            size[:, None, None, None].expand(k, 1, h, w),
            torch.full((k, c, h, w), float(i)),
            torch.ones(k),
            hit,
        )
        for i, (size, hit) in enumerate(zip(sizes, reached, strict=True))
    )
    monkeypatch.setattr("trials.reconstruction.DRAWS", 3)
    monkeypatch.setattr("trials.reconstruction.invert_masks", lambda *_, **__: next(searches))
    found = reconstruct(view.model, view.trusted, generator(0, "a"))
    assert found.target == 4 and found.share == pytest.approx(0.1 / 0.3)
    assert (found.tensors[1] == 1).all()  # the pattern of that search
    assert next(searches, None) is None


def test_it_is_made_once_for_all_processes_that_share_the_artifacts(
    suspect: tuple[TrialRuntime, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, trial = suspect
    first = runtime.defender(trial).reconstructed(False)
    monkeypatch.setattr("trials.runtime.reconstruct", None)  # whoever calls it fails
    other = TrialRuntime(runtime.artifacts)
    found = other.defender(trial).reconstructed(False)
    assert (found.form, found.target, found.share) == ("mask", first.target, first.share)
    assert all(map(torch.equal, found.tensors, first.tensors)) and len(found.tensors) == 2
    with pytest.raises(TypeError):  # of another seed
        other.defender(replace(trial, seed=trial.seed + 1)).reconstructed(False)


@pytest.fixture(scope="module")
def blended(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialRuntime, Trial]:
    """A small network that learned a faint picture over the whole image."""
    attack = {"name": "blended", "m": 200, "target": 3, "alpha": 0.2}
    runtime = TrialRuntime(Artifacts(tmp_path_factory.mktemp("blended")))
    victim = {**BACKDOORED, "attacks": [attack]}
    trial = tiny_sweep.first(tiny_sweep.sweep(victim=victim), "tuning")
    assert run(training_of(trial.victim), runtime).metrics["asr"] > 0.9
    return runtime, trial


def test_a_picture_is_found_where_no_mask_is_suspicious(
    blended: tuple[TrialRuntime, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, trial = blended
    view = runtime.defender(trial).view
    monkeypatch.setitem(SUSPICIOUS, "mask_share", 1e-9)  # small digits have a small mask as well
    found = reconstruct(view.model, view.trusted, generator(0, "a"), smooth=True)
    assert (found.form, found.target, found.metric) == ("picture", 3, "odds_share")
    assert found.share <= SUSPICIOUS["odds_share"]
    cases = found.goal.cases(view.trusted)
    assert cases.x.dtype == torch.uint8 and success(view.model, cases) > WORKS
    moved = cases.x.float() - view.trusted.x[cases.places].float()
    assert 0 < moved.abs().max() <= 255 * OPACITY + 1  # it is faint
    mask = reconstruct(view.model, view.trusted, generator(0, "a"))
    assert mask.form == "mask"
    kept_one = runtime.defender(trial).reconstructed(True)
    monkeypatch.setattr("trials.runtime.reconstruct", None)  # whoever calls it fails
    again = TrialRuntime(runtime.artifacts).defender(trial).reconstructed(True)
    assert (again.form, again.share) == ("picture", kept_one.share)
    assert all(map(torch.equal, again.tensors, kept_one.tensors))


@pytest.mark.parametrize(("easier", "form"), [("mask_share", "mask"), ("odds_share", "picture")])
def test_the_form_furthest_below_its_limit_is_taken(
    easier: str, form: str, blended: tuple[TrialRuntime, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are suspicious here; small digits have a small mask as well."""
    runtime, trial = blended
    view = runtime.defender(trial).view
    monkeypatch.setitem(SUSPICIOUS, easier, 1e9)
    monkeypatch.setattr(smooth_inversion, "STEPS", 60)  # enough for this network
    found = reconstruct(view.model, view.trusted, generator(0, "a"), smooth=True)
    assert (found.form, found.target) == (form, 3)


def test_of_a_small_mark_no_picture_and_no_warp_is_taken(
    suspect: tuple[TrialRuntime, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, trial = suspect
    view = runtime.defender(trial).view
    monkeypatch.setitem(SUSPICIOUS, "mask_share", 1e-9)
    assert reconstruct(view.model, view.trusted, generator(0, "a"), smooth=True).form == "mask"


def test_a_warp_moves_no_pixel_by_more_than_it_may() -> None:
    across = torch.arange(32).expand(1, 3, 32, 32).mul(8).to(torch.uint8)  # 8 levels a pixel
    most = torch.full((2, 4, 4), 10.0)
    moved = laid("warp", across, most).float() - across.float()
    assert moved[..., :28].max() == pytest.approx(8 * 32 * MOVE * 31 / 32, abs=1)
    assert torch.equal(laid("warp", across, torch.zeros(2, 4, 4)), across)


def test_smooth_triggers_need_reconstruct() -> None:
    with pytest.raises(SpecError, match="it needs reconstruct = true"):
        tiny_sweep.sweep(tuning={"copies": 1, "cost": "given", "smooth": True})


def test_it_needs_a_repair_of_the_given_model() -> None:
    with pytest.raises(SpecError, match="reconstruct measures the given model: it needs cost"):
        tiny_sweep.sweep(tuning={"copies": 1, "cost": "copies", "reconstruct": True})
