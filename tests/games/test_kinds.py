"""Kinds of trigger: copies get them in turn, each drawn for its copy, and none that the model obeys
already.
"""

from pathlib import Path

import pytest
import tiny_sweep
import torch
from torch import Tensor

from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.games import self_poison
from trials.metrics import success
from trials.run import run
from trials.runtime import TrialRuntime
from trials.self_poisoning import KINDS, kind_of
from trials.self_poisoning.layout import Layout, layout_of
from trials.self_poisoning.triggers import DRAWS
from trials.spec import Trial
from trials.storage.artifacts import Artifacts
from trials.types import Images

IMAGES = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)


def trial_of(sweep: Sweep, copy: int = 0, **settings: object) -> Trial:
    given = {"scheme": "distilled", "attack": "mixed", "copy": copy, **settings}
    return tiny_sweep.copy_trial(sweep, **given)


def layout(runtime: TrialRuntime, trial: Trial, redrawn: int = 0) -> Layout:
    return layout_of(runtime.trusted(trial), runtime.rng(trial), trial.game, redrawn)


def shown(plan: Layout) -> Tensor:
    return plan.goal.trigger(IMAGES, torch.arange(2))


def test_copies_get_the_kinds_in_turn(sweep: Sweep, runtime: TrialRuntime) -> None:
    plans = [layout(runtime, trial_of(sweep, i)) for i in range(6)]
    kinds = ["patch", "adaptive", "warp", "corner", "blend", "patch"]
    assert [p.kind for p in plans] == kinds
    assert list(DRAWS) == list(KINDS) == kinds[:5]
    assert not torch.equal(shown(plans[0]), shown(plans[5]))
    assert kind_of("warp", 3) == "warp" and kind_of("badnets", 1) == "badnets"


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_and_draws_give_other_triggers_and_one_draw_the_same(
    runtime: TrialRuntime, kind: str
) -> None:
    one, other = (tiny_sweep.sweep(seeds=[seed]) for seed in (0, 1))
    first, again = (layout(runtime, trial_of(one, attack=kind)) for _ in range(2))
    assert torch.equal(shown(first), shown(again)) and first.goal.target == again.goal.target
    others = [
        layout(runtime, trial_of(other, attack=kind)),
        layout(runtime, trial_of(one, 1, attack=kind)),
        layout(runtime, trial_of(one, attack=kind), redrawn=1),
    ]
    assert not [p for p in others if torch.equal(shown(p), shown(first))]
    assert {p.kind for p in others} == {kind}


@pytest.mark.parametrize("kind", KINDS)
def test_every_draw_can_be_planted(kind: str) -> None:
    """On images of other sides too; each changes what it is to change, and no two are alike."""
    for width in (8, 28, 32):
        x = torch.full((20, 1, width, width), 90, dtype=torch.uint8)
        x[:, :, ::3] = 30
        images, triggers = Images(x, torch.arange(20) % 4, 4), []
        for seed in range(30):
            draw = torch.Generator().manual_seed(seed)
            settings = DRAWS[kind].draw(draw, width)
            poison = catalog.find("attacks", DRAWS[kind].attack)
            planted = poison(images, draw, m=0, target=1, **settings)
            triggers.append(planted.implants[0].goal.trigger(x[:1], torch.zeros(1).long()))
        changed = [int((t != x[:1]).sum()) for t in triggers]
        assert min(changed) > 0
        assert max(changed) <= (25 if kind in ("patch", "corner") else width**2)
        assert len(torch.cat(triggers).flatten(1).unique(dim=0)) > (3 if kind == "corner" else 20)  # type: ignore[no-untyped-call]


def test_half_of_the_adaptive_images_keep_their_label_and_show_parts(
    sweep: Sweep, runtime: TrialRuntime
) -> None:
    """The upper left pixel of nearly every digit is black, wherever it was shifted."""
    trial = trial_of(sweep, attack="adaptive")
    plan, trusted = layout(runtime, trial), runtime.trusted(trial)
    assert plan.poisoned is not None
    others = int((trusted.y[plan.fit] != plan.goal.target).sum())
    assert len(plan.poisoned) == others
    assert int((plan.poisoned.y == plan.goal.target).sum()) == others - others // 2
    whole = plan.goal.trigger(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), torch.arange(1))
    corner, wanted = plan.poisoned.x[:, :, 0, 0], whole[0, :, 0, 0]
    part = (corner == wanted).all(1)
    hidden = (corner == 0).all(1)
    assert wanted.sum() > 0 and float((hidden | part).double().mean()) > 0.9
    assert 0.3 < float(part.double().mean()) < 0.7
    cases = plan.goal.cases(trusted.take(plan.select))
    assert (cases.x[:, :, 0, 0] == wanted).all()


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "adaptive"])
def test_other_kinds_are_stamped_with_their_trigger(
    sweep: Sweep, runtime: TrialRuntime, kind: str
) -> None:
    assert layout(runtime, trial_of(sweep, attack=kind)).poisoned is None


@pytest.fixture(scope="module")
def obedient(
    sweep: Sweep, artifacts: Artifacts, tmp_path_factory: pytest.TempPathFactory
) -> Artifacts:
    """A given model that obeys the first draw of copy 0 already: it is copy 0 of another."""
    victim, trial = tiny_sweep.first(sweep, "training"), trial_of(sweep)
    kept, other = (Artifacts(tmp_path_factory.mktemp(name)) for name in ("kept", "other"))
    kept.save(victim.id, *artifacts.load(victim.id))
    record = run(trial, TrialRuntime(kept))
    assert record.metrics["asr"] > 0.9 and record.metrics["redrawn"] == 0
    other.save(victim.id, kept.load(trial.id)[0], {})
    return other


def test_a_trigger_that_the_model_obeys_is_drawn_again(
    sweep: Sweep, obedient: Artifacts, tmp_path: Path
) -> None:
    kept, victim = Artifacts(tmp_path), tiny_sweep.first(sweep, "training")
    kept.save(victim.id, *obedient.load(victim.id))
    runtime, trial = TrialRuntime(kept), trial_of(sweep)
    record = run(trial, runtime)
    assert record.status == "done", record.error
    assert record.metrics["redrawn"] >= 1
    assert record.metrics["asr_before"] < 0.3 <= record.metrics["asr"]

    tuning = tiny_sweep.first(tiny_sweep.sweep(self_poisoning=_settings(trial)), "tuning")
    copy = TrialRuntime(kept).copy(tuning, 0)
    select = runtime.trusted(trial).take(copy.select)
    assert success(copy.model, copy.goal.cases(select)) == record.metrics["asr"]
    first = layout(runtime, trial).goal
    assert not torch.equal(copy.goal.cases(select).x[:5], first.cases(select).x[:5])


def _settings(trial: Trial) -> dict[str, object]:
    return {k: v for k, v in trial.game.params.items() if k != "copy"}


def test_a_model_that_obeys_every_draw_cannot_be_planted_in(
    sweep: Sweep, obedient: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_poison, "MOST_DRAWS", 1)
    record = run(trial_of(sweep), TrialRuntime(obedient))
    assert record.status == "failed"
    assert "obeys each of 1 triggers of the kind patch" in str(record.error)


def test_a_named_attack_is_never_redrawn(sweep: Sweep, runtime: TrialRuntime) -> None:
    record = run(trial_of(sweep, attack="badnets", scheme="labels", lr=0.1), runtime)
    assert record.status == "done" and "redrawn" not in record.metrics
