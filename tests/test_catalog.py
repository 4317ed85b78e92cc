"""The catalog: what it reads without importing is what importing shows, and every refusal helps."""

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest

from trials import catalog
from trials.catalog import signatures
from trials.catalog.method_kinds import FAMILIES
from trials.spec import ClassMap, Location, MethodConfig, Scalar, SpecError, Victim

EVERY = [(kind, name) for kind in catalog.KINDS for name in catalog.names(kind)]


def refused(says: str, kind: str, config: MethodConfig) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        catalog.resolve(kind, config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_the_settings_read_from_the_source_are_those_of_the_signature(kind: str, name: str) -> None:
    parameters = inspect.signature(catalog.find(kind, name)).parameters.values()
    assert {p.kind for p in parameters} <= {
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.KEYWORD_ONLY,
    }
    real = {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    settings = catalog.describe(kind, name).settings
    assert list(settings) == list(real)
    for key, setting in settings.items():
        wanted: Any = real[key].annotation
        assert setting.default == real[key].default and type(setting.default) is type(
            real[key].default
        )
        if get_origin(wanted) is Literal:
            assert setting.choices == get_args(wanted) and setting.type is str
        elif get_origin(wanted) is Annotated:
            base, note = get_args(wanted)
            assert setting.type is base and setting.location == (wanted in (Location, ClassMap))
            assert setting.words == (note if wanted == ClassMap else ())
            assert setting.range == (None if setting.location else note)
        else:
            assert setting.type is wanted and setting.range is None and not setting.choices


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_method_describes_itself_and_its_settings(kind: str, name: str) -> None:
    method = catalog.describe(kind, name)
    assert method.summary
    assert kind == "spaces" or (method.source and method.deviation)
    assert [s.name for s in method.settings.values() if not s.doc] == []


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, n in EVERY if k != "datasets"])
def test_every_default_passes_its_own_check(kind: str, name: str) -> None:
    method = catalog.describe(kind, name)
    expected = method.settings.keys() - method.added_later
    assert catalog.resolve(kind, MethodConfig(name)).params.keys() == expected


def test_a_setting_that_was_added_later_stays_out_of_the_id_at_its_default() -> None:
    plain = catalog.resolve("games", MethodConfig("robustness"))
    said = catalog.resolve("games", MethodConfig("robustness", {"asr_of": "max"}))
    other = catalog.resolve("games", MethodConfig("robustness", {"asr_of": "mean"}))
    assert said == plain and "asr_of" not in plain.params
    assert other.params == {**plain.params, "asr_of": "mean"}


def test_resolving_fills_defaults_and_keeps_what_was_given() -> None:
    resolved = catalog.resolve("models", MethodConfig("resnet18", {"width": 8}))
    given: dict[str, Scalar] = {"norm": "cifar10", "mean": "", "std": "", "width": 8, "groups": 0}
    assert resolved == MethodConfig("resnet18", given)
    assert catalog.resolve("models", resolved) == resolved


@pytest.mark.parametrize(
    ("scheme", "lr", "steps", "batch"),
    [
        ("labels", 0.02, 500, 128),
        ("sam", 0.02, 500, 128),
        ("sbl", 0.02, 500, 128),
        ("distilled", 0.1, 400, 64),
        ("hardened", 0.05, 400, 64),
        ("shrink", 0.1, 800, 64),
        ("late", 0.1, 1300, 64),
        ("reborn", 0.1, 1300, 64),
    ],
)
def test_a_setting_brings_defaults_of_others(
    scheme: str, lr: float, steps: int, batch: int
) -> None:
    def resolved(**given: Any) -> dict[str, Any]:
        config = MethodConfig("self_poison", {"scheme": scheme, **given})
        params = catalog.resolve("games", config).params
        return {key: params[key] for key in ("lr", "steps", "batch")}

    plain = {"lr": lr, "steps": steps, "batch": batch}
    assert resolved() == plain
    for key, value in {"lr": 0.3, "steps": 7, "batch": 500}.items():
        assert resolved(**{key: value}) == {**plain, key: value}


def test_a_scheme_says_its_defaults_in_its_help_as_they_are() -> None:
    settings = catalog.describe("games", "self_poison").settings
    declared = catalog.describe("games", "self_poison").defaults["scheme"]
    assert set(declared) | {"late", "reborn"} == set(settings["scheme"].choices)
    assert settings["scheme"].default == "late" and settings["steps"].default == 1300
    for key, others in (("steps", {400, 500, 800}), ("lr", {0.02, 0.05}), ("batch", {128})):
        assert {values[key] for values in declared.values() if key in values} == others
        said = settings[key].doc.replace(",", "")
        assert [n for n in others if f"{n:g}" not in said] == []


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"steps": {"3": {"kind_": 1}}}, r"setting 'kind_'\. Did you mean 'kind'"),
        ({"step": {"3": {"kind": 1}}}, r"setting 'step'\. Did you mean 'steps'"),
        ({"kind": {"on": {"steps": 1}}}, r"kind 'on'\. Did you mean 'one'"),
    ],
)
def test_defaults_of_what_is_not_there_are_refused(
    tmp_path: Path, declared: dict[str, Any], says: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        f"DEFAULTS = {declared}\n"
        "def play(ctx, /, *, steps: int = 3, kind: Literal['one', 'two'] = 'one'): ...\n"
    )
    with pytest.raises(LookupError, match=f"^DEFAULTS: unknown {says}"):
        signatures.read("games", "mine", file)


def test_a_family_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text('FAMILY = "pruned"\ndef repair(view, rng, every, /): ...\n')
    with pytest.raises(LookupError, match=r"^FAMILY: unknown family 'pruned'"):
        signatures.read("defenses", "mine", file)
    file = tmp_path / "other.py"
    file.write_text("def repair(view, rng, every, /): ...\n")
    assert signatures.read("defenses", "other", file).family == "other"


@pytest.mark.parametrize("name", ["lr", "optimizer", "steps"])
def test_a_rate_that_is_no_number_of_the_defense_is_refused(tmp_path: Path, name: str) -> None:
    settings = "rate: float = 0.1, optimizer: str = 'sgd', steps: int = 3"
    for declared in ("rate", name):
        file = tmp_path / f"by_{declared}.py"
        file.write_text(
            f'TUNES_BY = frozenset({{"{declared}"}})\n'
            f"def repair(view, rng, every, /, *, {settings}): ...\n"
        )
    assert signatures.read("defenses", "mine", tmp_path / "by_rate.py").rates == {"rate"}
    with pytest.raises(LookupError, match=f"^TUNES_BY: unknown name '{name}'"):
        signatures.read("defenses", "mine", tmp_path / f"by_{name}.py")


def test_a_length_is_a_whole_number_of_the_defense(tmp_path: Path) -> None:
    settings = "rate: float = 0.1, steps: int = 3"
    for name in ("rate", "steps"):
        (tmp_path / f"{name}.py").write_text(
            f'LEARNS_BY = frozenset({{"{name}"}})\n'
            f"def repair(view, rng, every, /, *, {settings}): ...\n"
        )
    assert signatures.read("defenses", "mine", tmp_path / "steps.py").lengths == {"steps"}
    with pytest.raises(LookupError, match="^LEARNS_BY: unknown name 'rate'"):
        signatures.read("defenses", "mine", tmp_path / "rate.py")


def test_every_defense_of_the_package_has_a_family() -> None:
    families = {n: catalog.describe("defenses", n).family for n in catalog.names("defenses")}
    assert set(families.values()) <= set(FAMILIES) - {"other"}
    assert {n for n, f in families.items() if f == "control"} == {"none", "bn_refresh"}
    assert families["neural_cleanse"] == "inversion" and families["fine_pruning"] == "pruning"


def test_an_integer_where_a_number_is_wanted_gives_the_same_id() -> None:
    one = catalog.resolve("attacks", MethodConfig("badnets", {"alpha": 1}))
    assert (
        one.identity()
        == catalog.resolve("attacks", MethodConfig("badnets", {"alpha": 1.0})).identity()
    )
    assert isinstance(one.params["alpha"], float)


def test_unknown_names_come_with_the_nearest_known() -> None:
    refused(
        r"unknown attack 'badnet'\. Did you mean 'badnets'\? Known: .*c_badnets",
        "attacks",
        MethodConfig("badnet"),
    )
    refused("Did you mean 'width'", "models", MethodConfig("resnet18", {"with": 1}))
    refused("Did you mean 'datasets'", "dataset", MethodConfig("digits"))
    with pytest.raises(SpecError) as caught:
        catalog.find("attacks", "zzz")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["../spec", "_patch", "__init__", "", "badnets.py"])
def test_only_public_files_are_methods(name: str) -> None:
    refused("unknown attack", "attacks", MethodConfig(name))


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("m", -1, r"m must be an integer in \[0, inf\), got -1"),
        ("m", 1.0, "m must be an integer"),
        ("m", True, "m must be an integer"),
        ("m", "5", "m must be an integer"),
        ("boost", 0, r"in \[1, inf\), got 0"),
        ("alpha", 1.5, r"a number in \[0, 1\], got 1.5"),
        ("alpha", float("nan"), "alpha must be"),
        ("alpha", None, "alpha must be"),
        ("mark", "pear", "one of 'apple', 'random', got 'pear'"),
        ("mark", 1, "one of 'apple'"),
    ],
)
def test_values_of_the_wrong_type_or_range_are_refused(setting: str, value: Any, says: str) -> None:
    refused(says, "attacks", MethodConfig("badnets", {setting: value}))


def test_infinity_is_no_number() -> None:
    refused("lr must be a number", "recipes", MethodConfig("paper", {"lr": float("inf")}))


def test_true_and_false_are_not_numbers_nor_the_reverse() -> None:
    refused(
        "pretrained must be true or false, got 1",
        "models",
        MethodConfig("torchvision_resnet18", {"pretrained": 1}),
    )


def test_a_files_digest_enters_the_identity_and_its_path_does_not(tmp_path: Path) -> None:
    for name, text in (("a", "same"), ("b", "same"), ("c", "other")):
        (tmp_path / name).write_text(text)
    a, b, c = (
        catalog.resolve("recipes", MethodConfig("given", {"weights": str(tmp_path / n)}))
        for n in "abc"
    )
    assert a.identity() == b.identity() != c.identity()
    assert str(tmp_path) not in str(a.identity()) and a.params["weights"] == str(tmp_path / "a")


def test_a_variable_in_a_path_is_expanded_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar10").mkdir()
    monkeypatch.setenv("POISONSWEEP_DATA", str(tmp_path))
    assert catalog.resolve("datasets", MethodConfig("cifar10")).params["root"] == str(
        tmp_path / "cifar10"
    )
    monkeypatch.delenv("POISONSWEEP_DATA")
    refused("POISONSWEEP_DATA is not set", "datasets", MethodConfig("cifar10"))
    refused("does not exist", "datasets", MethodConfig("cifar10", {"root": str(tmp_path / "none")}))


def test_a_victim_is_resolved_throughout() -> None:
    victim = Victim(
        dataset=MethodConfig("digits"),
        model=MethodConfig("resnet18"),
        attacks=(MethodConfig("badnets"),),
        training=MethodConfig("fast"),
        seed=0,
    )
    resolved = catalog.resolve_victim(victim)
    assert resolved.dataset.params["size"] == 16 and "boost" in resolved.attacks[0].params
    assert "epochs" in resolved.training.params and "width" in resolved.model.params
    with pytest.raises(SpecError, match="unknown recipe"):
        catalog.resolve_victim(
            Victim(
                dataset=victim.dataset,
                model=victim.model,
                attacks=(),
                training=MethodConfig("x"),
                seed=0,
            )
        )
