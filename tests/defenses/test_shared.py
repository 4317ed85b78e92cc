"""What every defense promises; a new file in trials/defenses is found by itself."""

import ast
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, nn

from trials import catalog, defenses
from trials.catalog import Setting
from trials.spec import MethodConfig, Range, Scalar, SpecError
from trials.train import clone, make_optimizer, stream, tune
from trials.types import DefenderView

from .tiny import fresh_view, run, same, state

NAMES = catalog.names("defenses")
TUNING = [n for n in NAMES if n != "none"]
# A tiny run: what of this a defense has a setting for. Half the channels, so that a changed share
# changes them.
CHEAP: dict[str, Scalar] = {
    "steps": 5,
    "batch": 16,
    "lr": 0.01,
    "teacher_steps": 3,
    "steps_per_class": 3,
    "ranking_batches": 2,
    "rho": 0.5,
    "clip": 0.1,
    "slack": 1.3,
}
OWN: dict[str, dict[str, Scalar]] = {
    "i_bau": {"rounds": 2, "radius": 0.5, "share": 0.3, "terms": 2},
    "sau": {"lr": 0.001, "adversarial": 0.5, "radius": 2.0},
    "nft": {"lr": 0.5, "floor": 0.95, "sparsity": 0.1},
    "anp": {"iterations": 8, "lr": 0.2, "most": 0.5},
    "rnp": {"stop": 0.24, "unlearn_lr": 0.001, "recover_steps": 8, "recover_lr": 0.2, "most": 0.5},
    "tsbd": {"stop": 0.24, "unlearn_lr": 0.001, "share": 0.5, "alpha": 0.5},
    "ulrl": {"stop": 0.21, "unlearn_lr": 0.0005, "deviations": 1.5},
    "overlay_soup": {"members": 2, "u": 1.0, "refresh": 48},
}
FALLING = [n for n in NAMES if "schedule" in catalog.describe("defenses", n).settings]
ONE_POINT = {
    n for n in FALLING if catalog.describe("defenses", n).settings["schedule"].default == "cosine"
}
# What a step is, these say themselves: channels cut, a share, a round.
OWN_STEPS = ("anp", "clp", "i_bau", "overlay_soup", "rnp")


def cheap(name: str) -> dict[str, Scalar]:
    known = catalog.describe("defenses", name).settings
    return {k: v for k, v in {**CHEAP, **OWN.get(name, {})}.items() if k in known}


def repaired(
    name: str, view: DefenderView, seed: int = 1, every: int = 2, **params: Scalar
) -> list[tuple[int, dict[str, torch.Tensor]]]:
    repair = catalog.find("defenses", name)
    return run(repair(view, Generator().manual_seed(seed), every, **{**cheap(name), **params}))


@functools.cache
def usual(name: str) -> list[tuple[int, dict[str, torch.Tensor]]]:
    """One tiny run of a defense, which several tests look at and none changes."""
    return repaired(name, fresh_view())


@pytest.mark.parametrize("name", NAMES)
def test_leaves_the_given_model_and_images_alone_and_draws_from_its_generator_alone(
    name: str,
) -> None:
    view = fresh_view()
    next(view.model.parameters()).requires_grad_(False)
    before, images = state(view.model), view.trusted.x.clone()
    drawn = torch.get_rng_state()
    repaired(name, view)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert same(state(view.model), before)
    assert not any(m.training for m in view.model.modules())
    assert [p.requires_grad for p in view.model.parameters()][:2] == [False, True]
    assert all(p.grad is None for p in view.model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in view.model.modules())
    assert torch.equal(view.trusted.x, images)


@pytest.mark.parametrize("name", NAMES)
def test_same_generator_same_result(name: str) -> None:
    first, again = usual(name), repaired(name, fresh_view())
    assert [s for s, _ in first] == [s for s, _ in again]
    assert all(same(a, b) for (_, a), (_, b) in zip(first, again, strict=True))


@pytest.mark.parametrize("name", [n for n in TUNING if n != "clp"])
def test_another_generator_another_result(name: str) -> None:
    assert not same(usual(name)[-1][1], repaired(name, fresh_view(), seed=2)[-1][1])


@pytest.mark.parametrize(
    ("every", "steps"), [(2, [2, 4, 5]), (5, [5]), (7, [5]), (1, [1, 2, 3, 4, 5])]
)
@pytest.mark.parametrize("name", [n for n in TUNING if n not in OWN_STEPS])
def test_recorded_steps_are_exact(name: str, every: int, steps: list[int]) -> None:
    run_of = usual(name) if every == 2 else repaired(name, fresh_view(), every=every)
    found = [step for step, _ in run_of]
    assert found == (steps[-1:] if name in ONE_POINT else steps)
    assert same(run_of[-1][1], usual(name)[-1][1])


@pytest.mark.parametrize("name", TUNING)
def test_how_often_it_is_recorded_and_measured_changes_nothing(name: str) -> None:
    params, view = cheap(name), fresh_view()
    repair = catalog.find("defenses", name)
    last: dict[str, torch.Tensor] = {}
    for _, model in repair(view, Generator().manual_seed(1), 1, **params):
        assert torch.is_grad_enabled()
        model.eval()
        last = state(model)
    assert same(last, usual(name)[-1][1])


@pytest.mark.parametrize("name", NAMES)
def test_the_repaired_weights_fit_the_same_architecture(name: str) -> None:
    view = fresh_view()
    for _, weights in usual(name):
        other = clone(view.model)
        other.load_state_dict(weights)
        assert torch.isfinite(other(torch.rand(2, 1, 8, 8))).all()


@pytest.mark.parametrize("name", OWN_STEPS)
def test_steps_of_its_own_are_the_same_for_every_model(name: str) -> None:
    first, other = (
        [s for s, _ in repaired(name, fresh_view(seed), every=every)]
        for seed, every in ((0, 50), (1, 3))
    )
    assert first == other == sorted(set(first))
    assert 1 < len(first) <= 40


@pytest.mark.parametrize("name", [n for n in TUNING if n != "clp"])
def test_refuses_an_empty_trusted_set(name: str) -> None:
    view = fresh_view()
    empty = DefenderView(view.model, view.trusted.take(torch.arange(0)))
    with pytest.raises(SpecError, match="trusted"):
        repaired(name, empty)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", TUNING)
def test_works_where_the_model_is_whatever_the_images_device(name: str) -> None:
    view = fresh_view()
    near, far = (
        DefenderView(view.model.cuda(), view.trusted),
        DefenderView(view.model, view.trusted.to("cuda")),
    )
    a, b = repaired(name, near)[-1][1], repaired(name, far)[-1][1]
    assert all(w.is_cuda for w in a.values())
    assert all(torch.allclose(a[k].float(), b[k].float(), atol=1e-4) for k in a)


@pytest.mark.parametrize("name", NAMES)
def test_before_the_slash_what_the_game_gives_after_the_star_what_a_sweep_turns(name: str) -> None:
    repair = catalog.find("defenses", name)
    assert inspect.isgeneratorfunction(repair)
    given = [
        p for p in inspect.signature(repair).parameters.values() if p.kind is p.POSITIONAL_ONLY
    ]
    turned = [
        p for p in inspect.signature(repair).parameters.values() if p.kind is not p.POSITIONAL_ONLY
    ]
    assert [p.name for p in given] == ["view", "rng", "every"]
    assert all(p.kind is p.KEYWORD_ONLY for p in turned)
    assert {p.name: p.default for p in turned} == catalog.resolve(
        "defenses", MethodConfig(name)
    ).params


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is_and_documents_each_setting(name: str) -> None:
    method = catalog.describe("defenses", name)
    assert method.summary
    assert method.source
    assert method.deviation
    assert [s.name for s in method.settings.values() if not s.doc] == []


@pytest.mark.parametrize(
    "path", sorted(Path(str(defenses.__file__)).parent.glob("*.py")), ids=lambda p: p.stem
)
def test_no_defense_imports_another(path: Path) -> None:
    found = [
        n.module or ""
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.ImportFrom)
    ]
    assert not [
        m
        for m in found
        if m.startswith("trials.defenses.") and not m.startswith("trials.defenses._")
    ]


# Liveness: a setting that can be turned without effect turns a sweep into noise.


def others(setting: Setting, now: Scalar) -> list[Scalar]:
    """Values that must each give another outcome than ``now``."""
    if setting.choices:
        return [c for c in setting.choices if c != now]
    if isinstance(now, bool):
        return [not now]
    if isinstance(now, int):
        return [now + 1]
    assert isinstance(now, float)
    further = now * 2 + (now == 0) / 2
    return [
        further if setting.range is None or (further in setting.range and further != 1) else now / 2
    ]


def dead(
    repair: Callable[..., Any], settings: Mapping[str, Setting], params: Mapping[str, Scalar]
) -> list[tuple[str, Scalar]]:
    """Settings, with the value, that change nothing: neither the recorded steps nor the weights."""
    base = {name: params.get(name, s.default) for name, s in settings.items()}

    def outcome(**changed: Scalar) -> list[tuple[int, dict[str, torch.Tensor]]]:
        return run(repair(fresh_view(), Generator().manual_seed(1), 100, **{**base, **changed}))

    usual, found = outcome(), []
    for name, setting in settings.items():
        for value in others(setting, base[name]):
            now = outcome(**{name: value})
            if len(now) == len(usual) and all(
                a == b and same(x, y) for (a, x), (b, y) in zip(now, usual, strict=True)
            ):
                found.append((name, value))
    return found


@pytest.mark.parametrize("name", TUNING)
def test_every_declared_setting_is_alive(name: str) -> None:
    assert (
        dead(
            catalog.find("defenses", name), catalog.describe("defenses", name).settings, cheap(name)
        )
        == []
    )


def test_the_liveness_test_finds_a_dead_setting() -> None:
    def repair(
        view: DefenderView, rng: Generator, every: int, /, *, lr: float, ghost: int, form: str
    ) -> Iterator[tuple[int, nn.Module]]:
        model = clone(view.model)
        lr = lr if form == "plain" else lr / 2
        yield from tune(
            model, stream(view.trusted, 16, rng), make_optimizer(model, "sgd", lr), 2, every
        )

    settings = {
        "lr": Setting("lr", float, 0.01, Range(0)),
        "ghost": Setting("ghost", int, 3, Range(1)),
        "form": Setting("form", str, "plain", choices=("plain", "half", "halved")),
    }
    assert dead(repair, settings, {}) == [("ghost", 4)]
    assert dead(repair, settings, {"form": "half"}) == [("ghost", 4), ("form", "halved")]
