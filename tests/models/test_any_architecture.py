"""Any classifier of torchvision or timm, and callables of one's own: their own key names are read
and written, normalisation is not.
"""

from pathlib import Path
from typing import Any, cast

import given_model
import pytest
import torch
import torchvision
from live_objects import learned
from own_networks import Tiny
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from results.store import Store
from sweep.commands.asked import sweep_of
from sweep.commands.defend import carry_out, prepare
from sweep.commands.rerun import rerun
from sweep.spec import sweep_file
from trials import architecture, catalog
from trials.architecture import parsed
from trials.metrics import predictions
from trials.normalisation import CONSTANTS
from trials.spec import MethodConfig, SpecError
from trials.weights.files import load_weights, save_weights

TORCHVISION = [
    ("mobilenet_v3_small", 32),
    ("regnet_y_400mf", 32),
    *(
        pytest.param(*network, marks=pytest.mark.slow)
        for network in (
            ("densenet121", 32),
            ("efficientnet_b0", 32),
            ("swin_t", 32),
            ("convnext_tiny", 32),
            ("googlenet", 32),
            ("vgg11_bn", 32),
            ("vit_b_32", 32),
            ("inception_v3", 75),
            ("maxvit_t", 224),
        )
    ),
]
DEFEND = """
flip = false

[tuning]
copies = 1
record_every = 10
delta = 0.8

[self_poisoning]
scheme = "labels"
steps = 100
batch = 32
lr = 0.05
share = 0.2
reach = 0.3

[[defenses]]
name = "fst"
profile = "small"
limit = 1
fixed = { steps = 40, lr = 0.1 }

[compute]
device = "cpu"
workers = 1
"""
# of a network that is hardly trained: any steps upset it, so that a backdoor just planted is gone
UPSET = DEFEND.replace('"fst"', '"weight_decay"').replace(
    "steps = 40, lr = 0.1", "steps = 20, lr = 0.01, batch = 32"
)
TIMM = [("test_vit", 64), ("test_efficientnet", 32), ("tf_efficientnet_lite0", 32)]


def built(arch: str, classes: int = 7, size: int = 32) -> nn.Module:
    name, params = parsed(arch)
    settings = catalog.resolve("models", MethodConfig(name, params)).params
    model: nn.Module = catalog.find("models", name)(classes, size, **settings)
    return model


def normalised(x: Tensor, constants: str) -> Tensor:
    mean, std = (torch.tensor(c)[:, None, None] for c in CONSTANTS[constants])
    return (x - mean) / std


def goes_round(bare: nn.Module, arch: str, size: int, constants: str, folder: Path) -> None:
    """A bare network's state dict is loaded, gives its logits, and comes back under its names."""
    torch.manual_seed(0)
    for value in bare.state_dict().values():  # no batch normalisation is fresh in a trained one
        if value.is_floating_point():
            value.mul_(1 + 0.1 * torch.rand_like(value))
    torch.save(bare.state_dict(), folder / "given.pt")
    model = built(arch, size=size).eval()
    load_weights(model, folder / "given.pt")
    x = torch.rand(2, 3, size, size)
    with torch.no_grad():
        logits = model(x)
        assert logits.shape == (2, 7)
        assert torch.allclose(logits, bare.eval()(normalised(x, constants)), atol=1e-4, rtol=1e-4)
        save_weights(model, folder / "repaired.safetensors")
        before = bare.state_dict()
        state = load_file(folder / "repaired.safetensors")
        for parameter in bare.parameters():
            parameter.zero_()
        bare.load_state_dict(state, strict=True)
        assert all(torch.equal(v, bare.state_dict()[k]) for k, v in state.items())
        assert list(state.keys() ^ before.keys()) == []
        for parameter in model.parameters():
            parameter.zero_()
        load_weights(model, folder / "repaired.safetensors")
        assert torch.equal(model(x), logits)


@pytest.mark.parametrize(("name", "size"), TORCHVISION)
def test_torchvisions_weights_go_round(name: str, size: int, tmp_path: Path) -> None:
    own: dict[str, Any] = {"image_size": size} if name.startswith("vit") else {}
    if name in ("googlenet", "inception_v3"):
        own = {"init_weights": False}
    bare = torchvision.models.get_model(name, weights=None, num_classes=7, **own)
    goes_round(bare, f"torchvision:{name}", size, "imagenet", tmp_path)


@pytest.mark.parametrize(("name", "size"), TIMM)
def test_timms_weights_go_round(name: str, size: int, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    own = {"img_size": size} if "vit" in name else {}
    bare = timm.create_model(name, pretrained=False, num_classes=7, **own)
    mean = tuple(bare.pretrained_cfg["mean"])
    constants = next(key for key, (m, _) in CONSTANTS.items() if m == mean)
    goes_round(bare, f"timm:{name}", size, constants, tmp_path)


def test_own_weights_go_round(tmp_path: Path) -> None:
    goes_round(Tiny(7, 4), "own_networks:Tiny,width=4", 16, "imagenet", tmp_path)


def test_own_normalisation_is_that_of_the_pretrained_config() -> None:
    pytest.importorskip("timm")
    x = torch.rand(1, 3, 4, 4)
    for arch, constants in [
        ("timm:tf_efficientnet_lite0", "half"),
        ("timm:resnet18", "imagenet"),
        ("timm:resnet18,norm=none", "none"),
        ("torchvision:mobilenet_v3_small,norm=cifar10", "cifar10"),
    ]:
        layer = built(arch).get_submodule("normalize_input")
        assert torch.equal(layer(x), normalised(x, constants)), arch


def test_normalisation_moves_with_the_network_and_is_not_saved_or_trained() -> None:
    model = built("torchvision:squeezenet1_1").double()
    layer = model.get_submodule("normalize_input")
    assert {b.dtype for b in layer.buffers()} == {torch.float64}
    assert not list(layer.parameters()) and not list(layer.state_dict())


def test_auxiliary_heads_are_kept_and_not_trained() -> None:
    model = built("torchvision:googlenet").train()
    model(torch.rand(2, 3, 32, 32)).sum().backward()
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert "fc" in trained and not trained & {"aux1", "aux2"}
    assert {"aux1.fc2.weight", "aux2.fc2.weight"} <= model.state_dict().keys()


@pytest.mark.parametrize("how", ["named", "mapping", "first"])
def test_the_logits_are_taken_of_whatever_a_network_returns(how: str) -> None:
    model = built(f"own_networks:Returning,how={how}").eval()
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert predictions(model, torch.zeros(3, 3, 32, 32, dtype=torch.uint8)).shape == (3,)


def test_a_model_of_transformers_is_a_callable_like_any_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = "from transformers import ViTConfig, ViTForImageClassification\n"
    text += "def vit(num_labels):\n    return ViTForImageClassification(ViTConfig(num_labels="
    text += "num_labels, image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=1, "
    text += "num_attention_heads=2, intermediate_size=16))\n"
    (tmp_path / "their_vit.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        model = built("their_vit:vit")
        assert model.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 7)
        assert "classifier.weight" in model.state_dict()


def test_classes_are_handed_over_by_whatever_name_the_callable_has() -> None:
    for arch in ("own_networks:with_classes", "own_networks:Numbers", "own_networks:Tiny,width=2"):
        assert built(arch, 3)(torch.rand(2, 3, 32, 32)).shape == (2, 3)
    assert built("own_networks:of_ten", 10)(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("arch", "size", "says"),
    [
        ("torchvision:mobilenet_v3_smal", 32, "Did you mean 'mobilenet_v3_small'"),
        ("torchvision:fasterrcnn_resnet50_fpn", 32, "unknown architecture of torchvision"),
        ("torchvision", 32, "unknown architecture of torchvision ''"),
        ("torchvision:vgg11,nrom=half", 32, "Did you mean 'norm'"),
        ("torchvision:vgg11,norm=halv", 32, "norm must be one of"),
        ("torchvision:alexnet", 32, "does not take images of 32 x 32 pixels"),
        ("torchvision:vit_b_16", 33, "does not take images of 33 x 33 pixels"),
        ("torchvision:vit_b_16", 4096, "operations for an image"),
        ("resnet81:width=4", 32, "Did you mean 'resnet18'"),
        ("mobilenet_v3_small", 32, "Others: torchvision:NAME"),
        ("own_networks:Tiny,widht=4", 32, "Did you mean 'width'"),
        ("own_networks:Tiny,width", 32, "needed is name=value"),
        ("own_networks:Tiny,width=wide", 32, "TypeError"),
        ("own_networks:Tyni", 32, "Did you mean 'Tiny'"),
        ("own_networks:Answer", 32, "needed is an nn.Module|failed"),
        ("own_networks:a_number", 32, "makes a int, needed is an nn.Module"),
        ("own_networks:of_ten", 32, r"gives \(2, 10\) for two images, expected \(2, 7\)"),
        ("own_networks:the_same", 32, "must make a new one each time"),
        ("own_networks:huge", 32, "1,099,520 million weights"),
        ("own_networks:Returning,how=nothing", 32, "returns a dict without logits"),
        ("own_networks:__name__", 32, "is a str, needed is a function or class"),
        ("no_such_package.nets:net", 32, "put its folder into PYTHONPATH"),
        ("own:callable=../x", 32, "needed is package.module:name"),
        ("own", 32, "needed is package.module:name"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(arch: str, size: int, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        built(arch, 7, size)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arch", "says"),
    [
        ("timm:tf_efficientnet_lite", "Did you mean"),
        ("timm:hf_hub:timm/resnet18.a1_in1k", "unknown architecture of timm"),
        ("timm:local-dir:folder", "unknown architecture of timm"),
        ("timm:resnet18.nope", "Known: a1_in1k"),
        ("timm:eva02_enormous_patch14_clip_224", "million at most"),
    ],
)
def test_what_timm_cannot_build_is_refused_in_one_line(arch: str, says: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(SpecError, match=says) as caught:
        built(arch, 7, 224)
    assert "\n" not in str(caught.value)


def test_without_timm_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(SpecError, match=r"pip install 'poisonsweep\[timm\]'"):
        catalog.find("models", "timm")(7, 32, arch="resnet18")


def test_a_check_draws_no_random_numbers() -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights.append(built("torchvision:squeezenet1_0", 5, 64).state_dict()["features.0.weight"])
    assert torch.equal(*weights)


WAYS = {
    "resnet18:width=4,norm=half": ("resnet18", {"width": 4, "norm": "half"}),
    "torchvision:vgg11_bn": ("torchvision", {"arch": "vgg11_bn"}),
    "torchvision:vgg11_bn,norm=half": ("torchvision", {"arch": "vgg11_bn", "norm": "half"}),
    "torchvision:arch=vgg11_bn": ("torchvision", {"arch": "vgg11_bn"}),
    "timm:resnet18.a1_in1k": ("timm", {"arch": "resnet18.a1_in1k"}),
    "a.b:net": ("own", {"callable": "a.b:net"}),
    "a:Nets.small": ("own", {"callable": "a:Nets.small"}),
    "a.b:net,norm=none,width=3,deep=true": (
        "own",
        {"callable": "a.b:net", "norm": "none", "arguments": "width=3,deep=true"},
    ),
}


@pytest.mark.parametrize("arch", WAYS)
def test_an_architecture_is_one_word(arch: str) -> None:
    assert parsed(arch) == WAYS[arch]


def swept(model: str) -> MethodConfig:
    """The model of a sweep whose file has that value for it."""
    text = (
        f'[victim]\ndataset = "digits"\nmodel = {model}\ntraining = "fast"\n[[defenses]]\nname = '
    )
    file = Path("sweep.toml")
    file.write_text(text + '"none"\nprofile = "small"\n')
    return sweep_file.read(file).victims[0].model


def test_a_sweep_names_models_as_the_command_line_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    word = swept('"torchvision:vgg11_bn"')
    assert word == swept('{ name = "torchvision", arch = "vgg11_bn" }')
    settings = {"arch": "vgg11_bn", "norm": "own", "mean": "", "std": ""}
    assert word.name == "torchvision" and word.params == settings
    assert swept('["small_cnn", "timm:test_vit"]') == swept('"small_cnn"')


def test_a_sweeps_file_names_no_code_that_its_user_did_not_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for model in ('"own_networks:Tiny"', '{ name = "own", callable = "own_networks:Tiny" }'):
        for allowed in ("", "own_net", "own_networks.deeper"):
            monkeypatch.setenv(architecture.ALLOWED, allowed)
            with pytest.raises(SpecError, match="set POISONSWEEP_MODELS=own_networks"):
                swept(model)
        monkeypatch.setenv(architecture.ALLOWED, "other, own_networks")
        assert swept(model).params["callable"] == "own_networks:Tiny"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``trusted/`` of real digits and a sweep of seconds."""
    folder = tmp_path_factory.mktemp("digits")
    images = catalog.find("datasets", "digits")("train")
    for i in range(300):
        file = folder / "trusted" / str(int(images.y[i])) / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images.x[i].permute(1, 2, 0).numpy()).save(file)
    (folder / "sweep.toml").write_text(DEFEND)
    return folder


def network_of(arch: str) -> nn.Module:
    """A new network of ten classes, built by its own library."""
    library, _, name = arch.partition(":")
    if library == "own_networks":
        return Tiny()
    if library == "torchvision":
        found: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=10)
        return found
    timm = pytest.importorskip("timm")
    return cast(nn.Module, timm.create_model(name, pretrained=False, num_classes=10))


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch",
    [
        "timm:test_resnet",
        "timm:test_efficientnet",
        "torchvision:shufflenet_v2_x0_5",
        "own_networks:Tiny",
    ],
)
def test_a_repaired_file_is_as_right_in_its_own_library_as_here(
    arch: str, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # for the workers
    torch.manual_seed(0)
    torch.save(learned(network_of(arch), 0.5, 0.5).state_dict(), tmp_path / "model.pt")
    asked = given_model.asked(digits, model=tmp_path / "model.pt", arch=f"{arch},norm=half")
    if arch.startswith("torchvision"):
        asked["spec"] = tmp_path / "upset.toml"
        asked["spec"].write_text(UPSET)
    out = tmp_path / "out"
    order = prepare(out=out, **asked)
    told = carry_out(order)
    assert told["trials"]["failed"] == 0 and told["understood"]["accuracy"] > 0.4
    given, theirs = torch.load(tmp_path / "model.pt"), network_of(arch).eval()
    state = load_file(out / "repaired.safetensors")
    theirs.load_state_dict(state, strict=True)
    assert any(not torch.equal(state[key], given[key]) for key in given)
    ours, held = built(f"{arch},norm=half", 10, 16).eval(), given_model.judged_on(order)
    load_weights(ours, out / "repaired.safetensors")
    with torch.no_grad():
        logits = theirs(normalised(held.x / 255, "half"))
        assert torch.allclose(logits, ours(held.x / 255), atol=1e-4, rtol=1e-4)
    guessed = logits.argmax(1)
    assert torch.equal(guessed, predictions(ours, held.x))
    assert float((guessed == held.y).double().mean()) == told["this_model"]["cda"]
    if arch.startswith("own"):  # a store does not choose which code runs
        with Store.open(order.url, create=False) as store:
            trial = store.records()[0].trial.id
            with pytest.raises(SpecError, match="set POISONSWEEP_MODELS=own_networks"):
                rerun(store, trial, str(out / "artifacts"))


def test_a_better_normalisation_is_told_with_the_name_of_the_network(digits: Path) -> None:
    model = digits / "trusted"  # any path that exists
    for arch in ("torchvision:vgg11_bn", "timm:test_vit", "own_networks:Tiny"):
        victim = sweep_of(model, arch, digits / "trusted").victims[0]
        assert architecture.written(victim.model, "norm=half") == f"{arch},norm=half"
