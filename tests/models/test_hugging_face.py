"""A Hugging Face folder of an image classifier: what is read of it, and what is refused."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hf_folders
import numpy as np
import pytest
import torch
from hf_folders import MEAN, SIDE, STD
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers.models.auto.modeling_auto import AutoModelForImageClassification
from transformers.models.convnext.image_processing_convnext import ConvNextImageProcessor
from transformers.models.efficientnet.image_processing_efficientnet import (
    EfficientNetImageProcessor,
)
from transformers.models.vit.image_processing_vit import ViTImageProcessor

from sweep.cli import main
from sweep.commands.given_model import model_of, weights_of
from trials import catalog
from trials.classifier.capabilities import Classifier
from trials.models._hf_pixels import pixels_of
from trials.spec import MethodConfig, SpecError
from trials.weights.files import load_weights, save_weights

pytestmark = pytest.mark.usefixtures("quick_reader")


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hf_folders.images(tmp_path_factory.mktemp("colours") / "images")


@pytest.fixture(scope="module")
def given(trusted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``vit/``, ``resnet/`` and ``parts/``, the same ViT in several files."""
    top = tmp_path_factory.mktemp("given")
    hf_folders.made(top / "vit", "vit", trusted)
    hf_folders.made(top / "resnet", "resnet", trusted)
    hf_folders.made(top / "parts", "vit", trusted, max_shard_size="20KB")
    return top


def resolved(folder: Path) -> MethodConfig:
    return catalog.resolve("models", MethodConfig(*model_of(folder, "")))


def built(folder: Path) -> Any:
    config = resolved(folder)
    return catalog.find("models", config.name)(4, SIDE, **config.params)


@pytest.mark.parametrize("name", ["vit", "resnet", "parts"])
def test_the_logits_are_those_of_transformers_and_the_weights_go_back(
    given: Path, name: str, tmp_path: Path
) -> None:
    folder = given / name
    assert (len(list(folder.glob("*.safetensors"))) > 1) == (name == "parts")
    theirs = AutoModelForImageClassification.from_pretrained(folder).eval()
    model = built(folder).eval()
    taken = load_weights(model, weights_of(folder))
    x = torch.rand(3, 3, SIDE, SIDE)
    mean, std = (torch.tensor(c)[:, None, None] for c in (MEAN, STD))
    with torch.no_grad():
        logits = model(x)
        assert torch.allclose(logits, theirs((x - mean) / std).logits, atol=1e-5)
    other = tmp_path / "back"
    other.mkdir()
    shutil.copy(folder / "config.json", other)
    save_weights(model, other / "model.safetensors", taken.names)
    again = AutoModelForImageClassification.from_pretrained(other).eval()
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in theirs.state_dict().items())
    files = [load_file(f) for f in sorted(folder.glob("*.safetensors"))]
    names = set[str]().union(*files)
    assert load_file(other / "model.safetensors").keys() == names


@pytest.mark.parametrize("old", [True, False])
def test_pytorch_model_bin_is_read_under_the_names_of_files_and_of_modules(
    given: Path, old: bool, tmp_path: Path
) -> None:
    shutil.copytree(given / "vit", tmp_path / "bin")
    file = tmp_path / "bin" / "model.safetensors"
    theirs = AutoModelForImageClassification.from_pretrained(tmp_path / "bin")
    torch.save(load_file(file) if old else theirs.state_dict(), file.with_name("pytorch_model.bin"))
    file.unlink()
    model, same = built(tmp_path / "bin"), built(given / "vit")
    load_weights(model, weights_of(tmp_path / "bin"))
    load_weights(same, weights_of(given / "vit"))
    assert all(torch.equal(v, same.state_dict()[k]) for k, v in model.state_dict().items())


def test_what_a_defense_may_need_is_found(given: Path) -> None:
    shape = (3, SIDE, SIDE)
    assert Classifier(built(given / "resnet"), shape).lacks(catalog.NEEDS) == []
    assert Classifier(built(given / "vit"), shape).lacks(catalog.NEEDS) == ["norms", "paired_norms"]


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_another_configuration_is_another_model(given: Path, file: str, tmp_path: Path) -> None:
    shutil.copytree(given / "vit", tmp_path / "other")
    assert resolved(tmp_path / "other").identity() == resolved(given / "vit").identity()
    said = json.loads((tmp_path / "other" / file).read_text())
    said["hidden_act" if file == "config.json" else "resample"] = "relu"
    (tmp_path / "other" / file).write_text(json.dumps(said))
    assert resolved(tmp_path / "other").identity() != resolved(given / "vit").identity()


PIXELS: list[Callable[[], Any]] = [
    lambda: ViTImageProcessor(size={"height": 24, "width": 24}),
    lambda: ViTImageProcessor(size={"height": 24, "width": 24}, do_normalize=False),
    lambda: ConvNextImageProcessor(size={"shortest_edge": 24}, crop_pct=1.0, image_std=[0.2] * 3),
    lambda: EfficientNetImageProcessor(size={"height": 24, "width": 24}),
    lambda: EfficientNetImageProcessor(
        size={"height": 24, "width": 24}, rescale_factor=1 / 127.5, rescale_offset=True
    ),
]


@pytest.mark.parametrize("make", PIXELS)
def test_pixels_are_what_the_image_processor_makes(make: Callable[[], Any], tmp_path: Path) -> None:
    processor = make()
    processor.save_pretrained(tmp_path)
    said = pixels_of(tmp_path / "preprocessor_config.json")
    x = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    theirs = processor(Image.fromarray(x), return_tensors="pt")["pixel_values"][0]
    assert said.size == 24 and said.constants is not None
    mean, std = (torch.tensor(c)[:, None, None] for c in said.constants)
    ours = (torch.from_numpy(x).permute(2, 0, 1) / 255 - mean) / std
    assert torch.allclose(ours, theirs, atol=1e-4)


def changed(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        said = json.loads((folder / "config.json").read_text())
        kept = {k: v for k, v in {**said, **values}.items() if v is not ...}
        (folder / "config.json").write_text(json.dumps(kept))

    return change


def prepared(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "preprocessor_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def half_an_index(folder: Path) -> None:
    without_weights(folder)
    index = {"weight_map": {"a": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def index_out_of_the_folder(folder: Path) -> None:
    without_weights(folder)
    index = {"weight_map": {"a": "../resnet/model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


class Code:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


def pickled_code(folder: Path) -> None:
    without_weights(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Code()}))


def other_shapes(folder: Path) -> None:
    file = folder / "model.safetensors"
    state = load_file(file)
    state["vit.embeddings.position_embeddings"] = torch.zeros(1, 5, 32)
    save_file(state, file)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "auto_map": (
        changed(auto_map={"AutoModelForImageClassification": "modeling.Net"}),
        "asks for code of its own (auto_map), which is never run",
    ),
    "unknown model_type": (changed(model_type="vitt"), "'vitt' is none that this transformers"),
    "no model_type": (changed(model_type=...), "the model_type 'None' is none"),
    "no image classifier": (
        changed(architectures=["ViTModel"]),
        "is of ViTModel, which is not an image classifier",
    ),
    "a language model": (
        changed(model_type="bert", architectures=["BertForSequenceClassification"]),
        "is of BertForSequenceClassification, which is not an image classifier",
    ),
    "a folder of timm": (
        changed(architecture="resnet18", pretrained_cfg={}, model_type=...),
        "--arch timm:resnet18",
    ),
    "a wrapper of timm": (
        changed(model_type="timm_wrapper", architectures=["TimmWrapperForImageClassification"]),
        "is not an image classifier that is taken",
    ),
    "an object as a setting": (changed(hidden_size={"a": 1}), 'hidden_size is "{'),
    "a setting of another type": (changed(hidden_size="wide"), "describes no ViT"),
    "more layers than any": (changed(num_hidden_layers=10**6), "1e+06 layers; 512 at most"),
    "more weights than any": (changed(hidden_size=2**20), "million weights; 1,000 million at most"),
    "an unknown activation": (changed(hidden_act="os.system"), "cannot be built"),
    "no weights": (without_weights, "but no weights: needed is model.safetensors or"),
    "a part that is not there": (half_an_index, "names 1 files that are not there"),
    "an index that leads out": (index_out_of_the_folder, "is no index of weights"),
    "pickled code": (pickled_code, "could run code: refused"),
    "weights of another config": (changed(intermediate_size=48), "does not fit the model"),
    "weights of another shape": (other_shapes, "position_embeddings is (1, 5, 32), expected"),
    "another number of classes": (
        lambda f: save_file(
            {**load_file(f / "model.safetensors"), "classifier.weight": torch.zeros(7, 32)}
            | {"classifier.bias": torch.zeros(7)},
            f / "model.safetensors",
        ),
        "a model of 7 classes, and 4 are asked for",
    ),
    "no JSON": (lambda f: (f / "config.json").write_text("[" * 10_000), "cannot be read"),
    "BGR": (prepared(do_flip_channel_order=True), "asks for BGR images"),
    "a mean of two": (prepared(image_mean=[0.5, 0.5]), "needed are three numbers"),
    "a deviation of zero": (prepared(image_std=[0.5, 0, 0.5]), "image_std is"),
    "no square": (prepared(size={"height": 16, "width": 24}), "needed is a square"),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_a_folder_that_is_refused_is_so_in_one_line_and_nothing_is_run_or_written(
    given: Path,
    trusted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    change, says = REFUSED[what]
    shutil.copytree(given / "vit", tmp_path / "vit")
    change(tmp_path / "vit")
    (tmp_path / "vit" / "modeling.py").write_text("open('executed', 'w')")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    words = ["--model", str(tmp_path / "vit"), "--trusted", str(trusted), "--out", "out"]
    with pytest.raises(SystemExit) as ended:
        main(["defend", *words, "--device", "cpu"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and says in said, said
    assert len(said.strip().splitlines()) == 1
    assert not list(Path().iterdir())


def test_no_architecture_and_no_folder_is_refused(given: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--arch is left out"):
        model_of(given / "vit" / "model.safetensors", "")
    with pytest.raises(SpecError, match="config is empty"):
        catalog.find("models", "hugging_face")(4, SIDE)
