"""What every detector promises; a new file in trials/detectors is found by itself."""

import inspect
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from suspects import seeded
from torch import Tensor, nn

from trials import catalog, inversion
from trials.catalog import Setting
from trials.spec import MethodConfig, Scalar, SpecError
from trials.types import Images, Suspicion

NAMES = catalog.names("detectors")
# A tiny run: what of this a detector has a setting for. Rounds that come often enough, and a
# threshold within reach,
# so that each setting of a mask's schedule has something to change.
CHEAP: dict[str, Scalar] = {
    "steps": 24,
    "batch": 8,
    "lr": 0.05,
    "lambda_n": 0.05,
    "threshold": 0.4,
    "patience": 2,
    "round_steps": 3,
}
# Settings that do nothing, by the other setting that turns them off; their docs say so.
IDLE: dict[tuple[str, str, Scalar], set[str]] = {
    ("neural_cleanse", "form", "additive"): {"threshold", "patience", "round_steps"},
}
FORMS: list[tuple[str, dict[str, Any]]] = [(n, {}) for n in NAMES] + [
    (name, {key: value}) for name, key, value in IDLE
]


def net(seed: int) -> nn.Module:
    """An untrained net whose statistics have seen data."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            *(
                nn.Conv2d(3, 6, 3, 2, 1),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.Conv2d(6, 12, 3, 2, 1),
                nn.BatchNorm2d(12),
            ),
            *(nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)),
        )
    with torch.no_grad():
        for _ in range(20):
            model(noise().x / 255)
    return model.eval()


def noise(n: int = 40) -> Images:
    """Random images whose labels mean nothing."""
    x = torch.randint(0, 256, (n, 3, 8, 8), generator=seeded(5), dtype=torch.uint8)
    return Images(x, torch.arange(n) % 4, 4)


def settings(name: str, **changed: Scalar) -> dict[str, Scalar]:
    known = catalog.describe("detectors", name).settings
    return {**{k: v for k, v in CHEAP.items() if k in known}, **changed}


def suspicion(name: str, seed: int = 1, double: bool = False, **changed: Any) -> Suspicion:
    suspect, repaired = net(0), net(1)
    if double:
        suspect, repaired = suspect.double(), repaired.double()
    found: Suspicion = catalog.find("detectors", name)(
        suspect, repaired, noise(), seeded(seed), **settings(name, **changed)
    )
    return found


def numbers(found: Suspicion) -> list[Tensor]:
    """All of a suspicion."""
    masks = [] if found.masks is None else [found.masks]
    return [
        torch.tensor([found.score, *found.extra.values()]),
        found.scores,
        found.norms,
        found.triggers,
        *masks,
    ]


def same(a: Suspicion, b: Suspicion) -> bool:
    pairs = list(zip(numbers(a), numbers(b), strict=False))
    return a.extra.keys() == b.extra.keys() and all(
        x.shape == y.shape and torch.equal(x, y) for x, y in pairs
    )


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_says_something_finite_of_every_class(name: str, form: dict[str, Any]) -> None:
    found = suspicion(name, **form)
    assert found.scores.shape == found.norms.shape == (4,)
    assert found.triggers.shape == (4, 3, 8, 8)
    assert found.score == float(found.scores.max())
    assert all(torch.isfinite(t).all() for t in numbers(found))
    assert all(isinstance(v, float) for v in found.extra.values())
    if found.masks is None:
        assert found.triggers.abs().max() <= 1
    else:
        assert found.masks.shape == (4, 1, 8, 8)
        assert min(found.masks.min(), found.triggers.min()) >= 0
        assert max(found.masks.max(), found.triggers.max()) <= 1


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_all_classes_at_once_equal_one_after_the_other(
    name: str, form: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = suspicion(name, double=True, **form)
    assert together.triggers.dtype == torch.float64
    monkeypatch.setattr(inversion, "_PASS", {"cpu": 1})
    for a, b in zip(numbers(together), numbers(suspicion(name, double=True, **form)), strict=True):
        assert (a - b).abs().max() < 1e-12


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_leaves_models_and_images_alone(name: str, form: dict[str, Any]) -> None:
    models, images = [net(0), net(1)], noise()
    for model in models:
        next(model.parameters()).requires_grad_(False)
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in models]
    catalog.find("detectors", name)(*models, images, seeded(0), **settings(name, **form))
    for model, kept in zip(models, before, strict=True):
        assert all(torch.equal(kept[k], v) for k, v in model.state_dict().items())
        assert not any(m.training for m in model.modules())
        assert [p.requires_grad for p in model.parameters()][:2] == [False, True]
        assert all(p.grad is None for p in model.parameters())
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(images.x, noise().x)


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_a_detector_works_in_eval_mode_whatever_the_models_mode(
    name: str, form: dict[str, Any]
) -> None:
    usual = suspicion(name, **form)
    models = [net(0).train(), net(1).train()]
    found = catalog.find("detectors", name)(*models, noise(), seeded(1), **settings(name, **form))
    assert same(usual, found)
    assert all(m.training for m in models)


@pytest.mark.parametrize("name", NAMES)
def test_same_generator_same_suspicion_and_another_another(name: str) -> None:
    assert same(suspicion(name), suspicion(name))
    assert not torch.equal(suspicion(name, seed=1).triggers, suspicion(name, seed=2).triggers)


@pytest.mark.parametrize("name", NAMES)
def test_draws_from_its_generator_alone(name: str) -> None:
    before = torch.get_rng_state()
    suspicion(name)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "images", [noise(0), noise().take(noise().y == 1)], ids=["none", "of_one_class"]
)
def test_refuses_too_few_trusted_images_in_one_line(name: str, images: Images) -> None:
    with pytest.raises(SpecError, match=r"rusted|Trust") as caught:
        catalog.find("detectors", name)(net(0), net(1), images, seeded(0), **settings(name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_a_broken_model_is_a_failure_and_not_a_score(name: str, form: dict[str, Any]) -> None:
    broken = net(0)
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(ArithmeticError, match="diverged"):
        catalog.find("detectors", name)(
            broken, net(1), noise(), seeded(0), **settings(name, **form)
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_works_where_the_models_are_and_answers_on_the_cpu(name: str, form: dict[str, Any]) -> None:
    score, chosen = catalog.find("detectors", name), settings(name, **{**form, "steps": 3})
    near, far = (
        score(net(0).cuda(), net(1).cuda(), noise().to(d), seeded(1), **chosen)
        for d in ("cpu", "cuda")
    )
    assert not any(t.is_cuda for t in numbers(near))
    assert same(near, far)
    assert torch.allclose(
        near.triggers, score(net(0), net(1), noise(), seeded(1), **chosen).triggers, atol=0.05
    )


@pytest.mark.parametrize("name", NAMES)
def test_before_the_slash_what_the_game_gives_after_the_star_what_a_sweep_turns(name: str) -> None:
    signature = inspect.signature(catalog.find("detectors", name)).parameters.values()
    given = [p.name for p in signature if p.kind is p.POSITIONAL_ONLY]
    turned = {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY}
    assert given == ["suspect", "repaired", "trusted", "rng"]
    assert len(given) + len(turned) == len(signature)
    assert turned == catalog.resolve("detectors", MethodConfig(name)).params


# Liveness: a setting that can be turned without effect turns a sweep into noise.


def others(setting: Setting, now: Scalar) -> list[Scalar]:
    """Values that must each give another outcome than ``now``."""
    if setting.choices:
        return [c for c in setting.choices if c != now]
    if setting.type is int:
        return [int(now) + 1]
    return [float(now) * 2 + (now == 0)]


def dead(name: str, known: Mapping[str, Setting], **form: Scalar) -> set[str]:
    """Settings with a value that changes nothing."""
    base: dict[str, Any] = {**{k: s.default for k, s in known.items()}, **settings(name, **form)}
    usual = suspicion(name, **base)
    turned = [(k, v) for k, s in known.items() if k not in form for v in others(s, base[k])]
    return {key for key, value in turned if same(suspicion(name, **{**base, key: value}), usual)}


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_every_declared_setting_is_alive_where_its_docs_do_not_say_otherwise(
    name: str, form: dict[str, Any]
) -> None:
    known = catalog.describe("detectors", name).settings
    idle = next(
        (keys for (n, key, value), keys in IDLE.items() if (n, {key: value}) == (name, form)), set()
    )
    assert dead(name, known, **form) == idle
    assert all(" only" in known[key].doc for key in idle)
