"""What defend makes of a model whose architecture, normalisation or size nobody names."""

import html
import json
import shutil
from pathlib import Path
from typing import Any

import hf_folders
import pytest
import torch
from given_model import judged_on
from hf_folders import MEAN, SIDE, STD
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.models.auto.modeling_auto import AutoModelForImageClassification

from results.store import Store
from sweep.commands.asked import sweep_of
from sweep.commands.defend import carry_out, prepare
from sweep.commands.given_model import model_of
from sweep.commands.image_size import image_size
from sweep.spec import sweep_file
from trials import catalog
from trials.datasets import image_folder
from trials.metrics import predictions
from trials.spec import MethodConfig, SpecError
from trials.weights.files import load_weights

SPEC = """
flip = false

[tuning]
copies = 1
record_every = 10
delta = 0.9

[self_poisoning]
scheme = "labels"
steps = 60
batch = 32
lr = 0.05
share = 0.2
reach = 0.1

[[defenses]]
name = "fst"
profile = "small"
limit = 1
fixed = { steps = 20, lr = 0.1 }

[compute]
device = "cpu"
workers = 1
"""


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hf_folders.images(tmp_path_factory.mktemp("colours") / "images")


@pytest.fixture(scope="module")
def given(trusted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("given")
    hf_folders.made(top / "vit", "vit", trusted)
    hf_folders.made(top / "resnet", "resnet", trusted, max_shard_size="5KB")
    (top / "sweep.toml").write_text(SPEC)
    return top


@pytest.fixture(scope="module")
def plain(trusted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that was trained on these images without normalisation."""
    images = image_folder.load("train", root=str(trusted), size=SIDE)
    torch.manual_seed(0)
    model: nn.Module = catalog.find("models", "small_cnn")(4, SIDE, width=4, norm="none")
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images.x / 255), images.y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("normalize.")}
    file = tmp_path_factory.mktemp("plain") / "model.safetensors"
    save_file(state, file)
    return file


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of all of a folder's files."""
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found.update(load_file(file))
    return found


# what the page says of them, in an order that is not told
ODD = (
    "1 no image by its ending (.gif) ('red/moving.gif')",
    "1 no image by its ending (.txt) ('red/notes.txt')",
    "1 grey to RGB",
    "1 transparency dropped",
    "1 first frame of several taken",
)


def with_odd_files(trusted: Path, folder: Path) -> Path:
    """The same images, three of them in other forms, and files that are none."""
    top = Path(shutil.copytree(trusted, folder / "images"))
    first = Image.open(top / "red" / "00.png")
    first.save(top / "red" / "moving.gif", save_all=True, append_images=[first.rotate(90)])
    (top / "red" / "notes.txt").write_text("mine")
    Image.open(top / "dark" / "00.png").convert("L").save(top / "dark" / "00.png")
    first.convert("RGBA").save(top / "red" / "00.png")
    moving, turned = top / "red" / "frames.webp", [first.rotate(90)]
    first.save(moving, save_all=True, append_images=turned, lossless=True)
    return top


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_a_hugging_face_folder_is_repaired_without_a_word_on_its_architecture(
    given: Path, trusted: Path, kind: str, tmp_path: Path
) -> None:
    out, seen = tmp_path / "out", with_odd_files(trusted, tmp_path)
    order = prepare(given / kind, "", seen, out, spec=given / "sweep.toml")
    told = carry_out(order)
    assert told["files"][0] == str(out / "repaired" / "model.safetensors")
    assert not (out / "repaired.safetensors").exists()
    said = told["understood"]["prepared"]
    assert "16 x 16 pixels, as the model's configuration says" in said[0]
    assert said[1] == (
        "Normalisation: mean 0.5 0.4 0.3, std 0.25 0.2 0.3, of preprocessor_config.json."
    )
    page = html.unescape((out / "report.html").read_text())
    assert all(sentence in page for sentence in (*said[1:], *ODD))
    before, after = (weights_in(f) for f in (given / kind, out / "repaired"))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[k], after[k]) for k in before)
    theirs = AutoModelForImageClassification.from_pretrained(out / "repaired").eval()
    prepared = AutoImageProcessor.from_pretrained(out / "repaired")
    files, y = hf_folders.files(trusted)
    with torch.no_grad():
        x = prepared([Image.open(f) for f in files], return_tensors="pt")["pixel_values"]
        guessed = theirs(x).logits.argmax(1)
    name, params = model_of(out / "repaired", "")
    ours = catalog.find("models", name)(4, SIDE, **params)
    load_weights(ours, out / "repaired")
    images = image_folder.load("train", root=str(trusted), size=SIDE)
    assert torch.equal(images.y, y)
    own = predictions(ours, images.x)
    assert torch.equal(own, guessed) and float((own == y).double().mean()) > 0.3
    held = judged_on(order)
    mean, std = (torch.tensor(c)[:, None, None] for c in (MEAN, STD))
    with torch.no_grad():
        logits = theirs((held.x / 255 - mean) / std).logits
        assert torch.allclose(logits, ours.eval()(held.x / 255), atol=1e-4, rtol=1e-4)
    right = logits.argmax(1) == held.y
    assert float(right.double().mean()) == told["this_model"]["cda"]
    with Store.open(f"sqlite:///{out}/sweep.db", create=False) as store:
        stored = {r.trial.victim.model.params["config"] for r in store.records("defend")}
    assert stored == {str((given / kind / "config.json").resolve())}


def test_a_sweep_has_a_hugging_face_model_as_its_victim(given: Path, trusted: Path) -> None:
    folder = given / "vit"
    model = {
        "name": "hugging_face",
        "config": str(folder / "config.json"),
        "mean": "0.5",
        "std": "0.25",
    }
    victim = {
        "dataset": {"name": "image_folder", "root": str(trusted), "size": SIDE},
        "model": [model, f"hugging_face:{folder / 'config.json'},norm=half"],
        "training": {"name": "given", "weights": str(folder / "model.safetensors")},
    }
    first, second = sweep_file.parse(
        {"victim": victim, "defenses": [{"name": "none"}]}, "hf"
    ).victims
    assert first.id != second.id and first.model.files.keys() == {"config"}
    layer = catalog.find("models", "hugging_face")(4, SIDE, **first.model.params).normalize_input
    assert layer.mean.tolist() == [0.5] * 3 and layer.std.tolist() == [0.25] * 3


def asked(plain: Path, trusted: Path, out: Path, **how: Any) -> Any:
    return prepare(
        plain, "small_cnn:width=4", trusted, out / "out", device="cpu", flip=False, **how
    )


def test_a_probe_finds_the_normalisation_and_the_images_give_the_size(
    plain: Path, trusted: Path, tmp_path: Path
) -> None:
    order = asked(plain, trusted, tmp_path)
    (victim,) = order.sweep.victims
    assert victim.model.params["norm"] == "none" and victim.dataset.params["size"] == SIDE
    sized, said = order.understood.prepared
    assert sized == "The model gets images of 16 x 16 pixels, the trusted images' own size."
    assert said.startswith(
        "Normalisation: none, found by a probe: of 120 trusted images 100.0 % are right with none"
    )
    assert sized in order.understood.lines() and order.understood.accuracy == 1.0


def test_what_the_user_says_of_the_normalisation_is_not_probed(
    plain: Path, trusted: Path, tmp_path: Path
) -> None:
    ways = ({"norm": "none"}, {"mean": "0", "std": "1,1,1"})
    named, numbers = (asked(plain, trusted, tmp_path, size=SIDE, **how) for how in ways)
    for order in (named, numbers):
        assert order.understood.prepared[1] == "Normalisation: none, as asked for."
        assert order.understood.accuracy == 1.0
    assert numbers.sweep.victims[0].model.params["mean"] == "0.0 0.0 0.0"
    assert numbers.sweep.victims[0].id != named.sweep.victims[0].id


def test_a_normalisation_that_leads_by_less_than_five_points_is_not_taken(
    plain: Path, trusted: Path, tmp_path: Path
) -> None:
    order = prepare(
        plain, "small_cnn:width=4", trusted, tmp_path / "out", device="cpu", norm="none"
    )
    again = prepare(plain, "small_cnn:width=4,norm=none", trusted, tmp_path / "out", device="cpu")
    assert again.understood.prepared == order.understood.prepared
    assert again.sweep.victims == order.sweep.victims


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"norm": "imagnet"}, "unknown normalisation 'imagnet'. Did you mean 'imagenet'?"),
        ({"mean": "0.5"}, "--std is missing"),
        ({"mean": "0.5", "std": "0"}, "std must be three numbers above 0"),
        ({"mean": "0.5 0.5", "std": "1"}, "mean must be three numbers"),
        ({"mean": "nan", "std": "1"}, "mean must be three numbers"),
        ({"norm": "half", "mean": "0.5", "std": "1"}, "exclude each other"),
    ],
)
def test_a_wrong_normalisation_is_refused(
    plain: Path, trusted: Path, tmp_path: Path, how: dict[str, str], says: str
) -> None:
    with pytest.raises(SpecError, match=says.replace("?", r"\?")) as refused:
        asked(plain, trusted, tmp_path, size=SIDE, **how)
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())


def test_a_normalisation_that_is_asked_for_twice_or_cannot_be_is_refused(plain: Path) -> None:
    with pytest.raises(SpecError, match="--arch says norm, and so do"):
        model_of(plain, "small_cnn:norm=half", norm="none")
    with pytest.raises(SpecError, match="clip_vit_b32 has a normalisation of its own"):
        model_of(plain, "clip_vit_b32", norm="none")


def test_out_in_the_models_folder_is_refused(given: Path, trusted: Path) -> None:
    with pytest.raises(SpecError, match="lies in --model"):
        prepare(given / "vit", "", trusted, given / "vit" / "out", spec=given / "sweep.toml")


def sized(trusted: Path, arch: str, model: Path = Path()) -> tuple[int, str]:
    return image_size(model_of(model, arch), {"name": "image_folder", "root": str(trusted)})


def test_the_size_is_the_configurations_the_images_own_or_the_usual_one(
    given: Path, trusted: Path, tmp_path: Path
) -> None:
    assert sized(trusted, "", given / "resnet")[0] == SIDE
    assert sized(trusted, "torchvision:vit_b_16")[0] == 224  # made for it
    assert sized(trusted, "torchvision:mobilenet_v3_small")[0] == SIDE
    assert sized(trusted, "torchvision:alexnet")[0] == 224  # takes no smaller ones
    large = hf_folders.images(tmp_path / "large", each=1, side=40)
    assert sized(large, "resnet18")[0] == 40
    Image.new("RGB", (50, 40)).save(large / "red" / "other.png")
    assert sized(large, "resnet18")[0] == 40  # after cropping they are alike
    Image.new("RGB", (50, 50)).save(large / "red" / "larger.png")
    assert sized(large, "resnet18") == (
        32,
        "The model gets images of 32 x 32 pixels, usual for resnet18, as the trusted images differ "
        "in size; --size changes it.",
    )
    assert sized(large, "torchvision:resnet18")[0] == 224
    huge = hf_folders.images(tmp_path / "huge", each=1, side=300)
    assert sized(huge, "torchvision:resnet18")[0] == 224


def test_a_sides_of_timm_and_of_an_older_config(trusted: Path, given: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    assert sized(trusted, "timm:test_vit")[0] == 160  # made for it
    assert sized(trusted, "timm:resnet18")[0] == SIDE
    assert sized(trusted, "timm:resnet18.a1_in1k")[0] == 224
    (tmp_path / "bare").mkdir()
    said = json.loads((given / "vit" / "config.json").read_text())
    (tmp_path / "bare" / "config.json").write_text(json.dumps({**said, "image_size": 12}))
    assert sized(trusted, "", tmp_path / "bare")[0] == 12


def test_resolved_models_of_before_have_no_new_setting_in_their_id() -> None:
    for name in ("resnet18", "small_cnn", "torchvision", "timm", "own", "torchvision_resnet18"):
        config = catalog.resolve("models", MethodConfig(name))
        assert {"mean", "std"}.isdisjoint(config.identity()["params"])


@pytest.mark.parametrize(("size", "pad"), [(32, 4), (224, 28)])
def test_training_shifts_images_by_an_eighth_of_their_side(
    trusted: Path, tmp_path: Path, size: int, pad: int
) -> None:
    (tmp_path / "m.pt").touch()
    sweep = sweep_of(tmp_path / "m.pt", "torchvision:resnet18", trusted, size=size)
    assert sweep.victims[0].dataset.params["pad"] == pad


@pytest.mark.parametrize(
    ("size", "scheme", "rule"),
    [(63, "late", "worst_trigger_within_delta"), (64, "distilled", "reconstructed_within_delta")],
)
def test_large_images_have_the_copies_and_the_rule_that_were_tried_on_them(
    trusted: Path, tmp_path: Path, size: int, scheme: str, rule: str
) -> None:
    (tmp_path / "m.pt").touch()
    sweep = sweep_of(tmp_path / "m.pt", "torchvision:resnet18", trusted, size=size)
    (table,) = sweep.self_poisoning
    assert (table["scheme"], sweep.rule) == (scheme, rule)
    assert table.get("hope") == (1.0 if scheme == "late" else None)  # another picture is drawn
