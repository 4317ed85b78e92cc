"""Which output each class is: found where nobody says, or told; and a repair of a model that has
more outputs than there are classes.
"""

import html
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from colour_model import COLOURS, SIDE, folder, model, pictures
from safetensors.torch import load_file

from results.selection.understood import Understood
from sweep import defend
from sweep.cli import main
from sweep.commands.asked import DEFENSES, says_order, sweep_of
from sweep.commands.class_orders import ClassOrder, class_order, with_order
from sweep.commands.understanding import understand
from sweep.execution.preflight import check, without_unfit
from sweep.execution.runner import worker_config_of
from sweep.execution.worker import make_runtime
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.classifier import Classifier, with_latents
from trials.games._frozen import repaired
from trials.metrics import accuracy
from trials.output_order import in_order
from trials.runtime import generator
from trials.self_poisoning.layout import layout_of
from trials.spec import MethodConfig, SpecError
from trials.train import clone
from trials.types import DefenderView
from trials.weights.files import load_weights

ARCH = "small_cnn:width=4,norm=none"
SYNSETS = ("n01440764", "n02102040", "n02979186", "n03000684")
OUTPUTS = (0, 217, 482, 491)
NUMBERED = ("1", "12", "3", "4")  # as text; as numbers 1, 3, 4, 12


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 1,000 outputs, and images of four of them."""
    top = tmp_path_factory.mktemp("large")
    folder(top / "images", SYNSETS)
    model(top / "m.safetensors", OUTPUTS, 1000)
    return top


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of four outputs in the order of ``NUMBERED``, and images."""
    top = tmp_path_factory.mktemp("small")
    folder(top / "images", NUMBERED)
    model(top / "m.safetensors", range(4), 4)
    return top


def found(
    weights: Path, images: Path, out: Path, spec: Path | None = None, **how: Any
) -> tuple[ClassOrder, Sweep]:
    """What is taken, and the sweep with it."""
    sweep = sweep_of(weights, ARCH, images, spec, size=SIDE, flip=False, **how)
    runtime = make_runtime(worker_config_of(sweep, f"sqlite:///{out}/s.db"))
    told = says_order(spec, how.get("order"), how.get("classes"))
    taken = class_order(runtime, sweep.victims[0], told=told)
    return taken, replace(sweep, victims=(with_order(sweep.victims[0], taken),))


def understood(sweep: Sweep, out: Path, said: str = "") -> Understood:
    runtime = make_runtime(worker_config_of(sweep, f"sqlite:///{out}/s.db"))
    return understand(runtime, sweep.victims[0], said)


def test_imagenets_outputs_are_found_by_the_names_of_the_folders(
    large: Path, tmp_path: Path
) -> None:
    taken, sweep = found(large / "m.safetensors", large / "images", tmp_path)
    assert (taken.classes, taken.outputs) == ("imagenet", 1000)
    assert taken.said == (
        "Class order: ImageNet's ('n01440764' is output 0, 'n02102040' is output 217, 'n02979186' "
        "is output 482, ...), as --classes imagenet says: of 80 images 100.0 % are right so; the "
        "model has 1,000 outputs."
    )
    seen = understood(sweep, tmp_path, taken.said)
    assert seen.accuracy == 1.0 and [c.name for c in seen.classes] == list(SYNSETS)
    assert taken.said in seen.lines() and seen.as_json()["order"] == taken.said
    (said,) = seen.warnings
    assert "1,000 outputs, and the trusted images are of 4 of them" in said and "other 996" in said
    check(sweep, worker_config_of(sweep, f"sqlite:///{tmp_path}/s.db"))


def test_an_order_that_leads_clearly_is_taken_where_the_model_is_at_chance(
    small: Path, tmp_path: Path
) -> None:
    taken, sweep = found(small / "m.safetensors", small / "images", tmp_path)
    assert (taken.order, taken.classes) == ("text", "")
    assert "sorted as text ('1' is output 0, '12' is output 1, '3' is output 2, ...)" in taken.said
    assert "of 80 images 100.0 % are right so; sorted as numbers 25.0 %" in taken.said
    seen = understood(sweep, tmp_path)
    assert (seen.accuracy, seen.warnings) == (1.0, ())
    assert [c.name for c in seen.classes] == list(NUMBERED)


@pytest.mark.parametrize("how", ["order", "spec", "spec classes"])
def test_an_order_that_was_given_stays(how: str, small: Path, tmp_path: Path) -> None:
    spec = tmp_path / "s.toml"
    said = 'classes = "names.txt"' if how == "spec classes" else 'order = "numbers"'
    spec.write_text(f'{said}\n[[defenses]]\nname = "none"\n')
    (tmp_path / "names.txt").write_text("1\n3\n4\n12\n")
    asked: dict[str, Any] = {"order": "numbers"} if how == "order" else {"spec": spec}
    _, sweep = found(small / "m.safetensors", small / "images", tmp_path, **asked)
    with pytest.raises(SpecError, match=r"the model gets 25.0% of the trusted images right"):
        understood(sweep, tmp_path)


def test_no_order_is_taken_where_none_fits_or_none_is_needed(small: Path, tmp_path: Path) -> None:
    moved = model(tmp_path / "m.safetensors", (1, 0, 3, 2), 4)  # neither as text nor as numbers
    taken, sweep = found(moved, small / "images", tmp_path)
    assert taken == ClassOrder()
    with pytest.raises(SpecError, match="class folders look out of order"):
        understood(sweep, tmp_path)
    right = model(tmp_path / "n" / "m.safetensors", (0, 3, 1, 2), 4)
    assert found(right, small / "images", tmp_path)[0] == ClassOrder()


def test_names_in_the_config_beside_the_model_say_the_order(small: Path, tmp_path: Path) -> None:
    weights = model(tmp_path / "m.safetensors", (1, 0, 3, 2), 4)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"id2label": {"0": "12", "1": "1", "2": "4", "3": "3"}}))
    taken, sweep = found(weights, small / "images", tmp_path)
    assert taken.classes == str(config) and "by the names in config.json" in taken.said
    assert understood(sweep, tmp_path).accuracy == 1.0
    config.write_text(json.dumps({"id2label": {"0": "cat", "1": "dog", "2": "4", "3": "3"}}))
    assert found(weights, small / "images", tmp_path)[0] == ClassOrder()


def test_folders_may_have_the_numbers_of_outputs(tmp_path: Path) -> None:
    names = ("2", "11", "7", "0")
    images = folder(tmp_path / "images", names)
    weights = model(tmp_path / "m.safetensors", tuple(map(int, names)), 12)
    taken, sweep = found(weights, images, tmp_path)
    assert (taken.classes, taken.outputs) == ("index", 12)
    seen = understood(sweep, tmp_path)
    assert seen.accuracy == 1.0 and [c.name for c in seen.classes] == ["0", "2", "7", "11"]


def test_a_file_says_which_outputs_the_classes_are(large: Path, tmp_path: Path) -> None:
    images = folder(tmp_path / "images", ("red", "green", "blue", "dark"))
    refused = "It is a model of 1000 classes, and 4 are asked for.*--classes"
    with pytest.raises(SpecError, match=refused):
        _, sweep = found(large / "m.safetensors", images, tmp_path)
        check(sweep, worker_config_of(sweep, f"sqlite:///{tmp_path}/s.db"))
    names = tmp_path / "names.csv"
    pairs = zip(("red", "green", "blue", "dark"), OUTPUTS, strict=True)
    names.write_text("\n".join(f"{name},{output}" for name, output in pairs))
    taken, sweep = found(large / "m.safetensors", images, tmp_path, classes=names)
    assert (taken.classes, taken.outputs) == (str(names), 1000)
    assert "'red' is output 0" in taken.said
    assert understood(sweep, tmp_path).accuracy == 1.0
    names.write_text("red,0\ngreen,217\nblue,482\ndark,1000\n")
    _, sweep = found(large / "m.safetensors", images, tmp_path, classes=names)
    with pytest.raises(SpecError, match="'dark' is output 1000, but the model has 1000"):
        understood(sweep, tmp_path)


def test_the_two_ways_to_say_it_exclude_each_other(
    large: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["defend", "--model", f"{large}/m.safetensors", "--arch", ARCH, "--size", "8"]
    asked += ["--trusted", f"{large}/images", "--out", f"{tmp_path}/out", "--plan"]
    for wrong, says in (
        (("--order", "text", "--classes", "imagenet"), "both say which output each class is"),
        (("--classes", "nowhere.txt"), "which does not exist"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main([*asked, *wrong])
        said = capsys.readouterr().err
        assert says in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_defenses_that_draw_a_new_head_are_left_out_by_default(large: Path, tmp_path: Path) -> None:
    _, sweep = found(large / "m.safetensors", large / "images", tmp_path)
    kept, left_out = without_unfit(sweep, worker_config_of(sweep, f"sqlite:///{tmp_path}/s.db"))
    gone = set(DEFENSES) - {d.name for d in kept.defenses}
    assert gone >= {"fst", "d3"} and gone.isdisjoint({"nad", "neural_cleanse", "fine_tuning"})
    assert any("fst is left out: it draws outputs of the model anew" in line for line in left_out)


def test_a_model_in_another_order_is_the_same_but_for_its_logits() -> None:
    torch.manual_seed(0)
    plain = catalog.find("models", "small_cnn")(6, SIDE, width=4, norm="none").eval()
    keys = list(plain.state_dict())
    x, order = torch.rand(2, 3, SIDE, SIDE), (4, 1, 0, 2, 3, 5)
    before, latents = plain(x), with_latents(plain, x)[0]
    moved = in_order(clone(plain).eval(), order)
    for one in (moved, clone(moved).eval()):
        assert torch.equal(one(x), before[:, list(order)])
        assert list(one.state_dict()) == keys
        assert Classifier(one, x.shape[1:]).parts == Classifier(plain, x.shape[1:]).parts
        assert torch.equal(with_latents(one, x)[0], latents)


@pytest.mark.slow
def test_every_defense_and_detector_goes_over_the_classes_that_are_trusted(
    large: Path, tmp_path: Path
) -> None:
    _, sweep = found(large / "m.safetensors", large / "images", tmp_path)
    victim = sweep.victims[0]
    runtime = make_runtime(worker_config_of(sweep, f"sqlite:///{tmp_path}/s.db"))
    network, trusted = runtime.fresh(victim), runtime.poisoning(victim).train
    load_weights(network, large / "m.safetensors")
    given, view = accuracy(network, trusted), DefenderView(network, trusted)
    for name in catalog.names("defenses"):
        settings = catalog.describe("defenses", name).settings
        few = {
            k: v for k, v in (("steps", 2), ("batch", 8), ("steps_per_class", 2)) if k in settings
        }

        def repair(*asked: Any, name: str = name, few: dict[str, int] = few) -> Any:
            return catalog.find("defenses", name)(*asked, **few)

        after = repaired(repair, view, generator(0, name), 1, 1)
        assert after(torch.rand(2, 3, SIDE, SIDE)).shape == (2, 1000), name
    assert accuracy(network, trusted) == given == 1.0
    for name in catalog.names("detectors"):
        inspect = catalog.find("detectors", name)
        verdict = inspect(network, network, trusted, generator(0), steps=2, batch=4)
        assert verdict.scores.shape == (len(COLOURS),), name
    game = catalog.resolve("games", MethodConfig("self_poison", {"attack": "badnets"}))
    targets = set()
    for copy in range(12):
        one = MethodConfig("self_poison", {**game.params, "copy": copy})
        targets.add(layout_of(trusted, lambda *s: generator(1, *s), one).goal.target)
    assert targets == set(range(len(COLOURS)))


SPEC = """
flip = false
[tuning]
copies = 1
record_every = 4
delta = 0.4
[self_poisoning]
scheme = "labels"
steps = 60
batch = 32
lr = 0.05
share = 0.3
reach = 0.2
[[defenses]]
name = "fine_tuning"
profile = "small"
limit = 1
fixed = { steps = 60, batch = 16, lr = 0.02 }
[compute]
device = "cpu"
workers = 1
"""


@pytest.mark.slow
def test_a_repaired_model_keeps_its_outputs_in_their_order(large: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SPEC)
    out = tmp_path / "out"
    told = defend(
        large / "m.safetensors",
        large / "images",
        out,
        arch=ARCH,
        spec=tmp_path / "s.toml",
        size=SIDE,
    )
    page = html.unescape((out / "report.html").read_text())
    assert told["understood"]["order"].startswith("Class order: ImageNet's")
    assert "Class order: ImageNet's ('n01440764' is output 0, 'n02102040' is output 217" in page
    assert any("1,000 outputs" in line for line in told["warnings"])
    weights = load_file(out / "repaired.safetensors")
    before = load_file(large / "m.safetensors")
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in before.items()}
    network = catalog.find("models", "small_cnn")(1000, SIDE, width=4, norm="none")
    network.load_state_dict(weights, strict=True)
    found, colours = pictures()
    x = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2) / 255
    right = network.eval()(x).argmax(1) == torch.tensor(OUTPUTS)[colours]
    assert float(right.double().mean()) > 0.9 and told["this_model"]["cda"] > 0.9
