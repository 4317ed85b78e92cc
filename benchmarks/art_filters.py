"""Two data filters beside those of the same name in the Adversarial Robustness Toolbox, on one
model and one training set, in one run.

    pip install adversarial-robustness-toolbox
    POISONSWEEP_DATA=... python -m benchmarks.art_filters [--images N] [--width N] [--m N]

A ResNet-18 is trained on images of CIFAR-10, some with BadNets' patch. Spectral signatures removes
15 % of each class on both sides, activation clustering the smaller cluster of each class in ten
principal components. Both sides see the rows, their labels and the trained model, and both run the
rows through it. Theirs calls a model's last output its activations, so that it is handed the
network without its head. Seconds are the processor's, of every process started. Writes
benchmarks/results/art_filters.json.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from benchmarks._shared import must, parsed, write
from sweep.planning import filtering
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Sweep
from trials.classifier import with_latents
from trials.data_views import data_view, untrusted
from trials.dependencies import filtering_of, training_of, unfiltered
from trials.filters import activation_clustering, spectral_signatures
from trials.filters._passes import seen_by_trained
from trials.run import run
from trials.runtime import TrialRuntime
from trials.storage.artifacts import Artifacts
from trials.train import to_float
from trials.views import DataView, SampleScores

ASSUMED = 0.1  # share of poison that spectral signatures assumes; 1.5 times it is removed
_Rows = NDArray[np.bool_]


class Latents(nn.Module):
    """Images in, the input of the head out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return with_latents(self.model, x)[0]


def theirs_of(view: DataView) -> tuple[Any, NDArray[Any], NDArray[Any]]:
    """Their classifier without the head, and the rows as they take them."""
    from art.estimators.classification import PyTorchClassifier  # noqa: PLC0415

    x, y = to_float(view.train.x).contiguous().numpy(), view.train.y.numpy()
    shape, kinds = tuple(x.shape[1:]), view.train.classes
    model = nn.Sequential(Latents(view.trained())).eval()  # it hooks into the last of its children
    loss = nn.CrossEntropyLoss()
    made = PyTorchClassifier(model, loss, shape, kinds, device_type="cpu", clip_values=(0, 1))
    return made, x, y


def seconds_of(function: Callable[[], _Rows]) -> tuple[float, float, _Rows]:
    """Wall and processor seconds, and what is removed."""
    function()  # the first call loads code
    wall, spent = time.perf_counter(), sum(os.times()[:4])
    gone = function()
    return time.perf_counter() - wall, sum(os.times()[:4]) - spent, gone


def ours(view: DataView, name: str) -> _Rows:
    rng = Generator().manual_seed(0)
    found: SampleScores
    if name == "spectral_signatures":
        found = spectral_signatures.score(view, rng, assumed=ASSUMED)
    else:
        found = activation_clustering.score(
            view, rng, rule="always", classes="label", reduction="svd"
        )
    assert found.suspects is not None
    return np.asarray(found.suspects.numpy())


def theirs(view: DataView, name: str) -> _Rows:
    from art.defences.detector import poison  # noqa: PLC0415

    model, x, y = theirs_of(view)
    if name == "spectral_signatures":
        made = poison.SpectralSignatureDefense(model, x, y, expected_pp_poison=ASSUMED)
        return np.asarray(np.asarray(made.detect_poison()[1]) == 0)
    made = poison.ActivationDefence(model, x, y)
    found = made.detect_poison(nb_clusters=2, nb_dims=10, reduce="PCA")
    return np.asarray(np.asarray(found[1]) == 0)


def centred(view: DataView) -> _Rows:
    """What their spectral signatures would remove if it projected centred latents, as the paper
    does.
    """
    from art.defences.detector.poison import SpectralSignatureDefense  # noqa: PLC0415

    latents, y = seen_by_trained(view).latents.numpy(), view.train.y.numpy()
    gone = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        about = latents[rows] - latents[rows].mean(0)
        scores = SpectralSignatureDefense.spectral_signature_scores(about)[:, 0]
        gone[rows] = scores >= np.quantile(scores, 1 - 1.5 * ASSUMED)
    return gone


def overlap(one: _Rows, other: _Rows) -> float:
    """Rows that both remove, as a share of those that either removes."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def compared(view: DataView, poisoned: _Rows, name: str) -> dict[str, Any]:
    """Each side's seconds and rows, and how many rows both remove."""
    figures: dict[str, Any] = {}
    removed: dict[str, _Rows] = {}
    sides = {"ours": ours, "theirs": theirs}
    for side, of in sides.items():
        wall, spent, gone = seconds_of(lambda of=of: of(view, name))  # type: ignore[misc]
        removed[side] = gone
        figures[side] = {
            "wall_s": wall,
            "cpu_s": spent,
            "rows_removed": int(gone.sum()),
            "poisoned_removed": float(gone[poisoned].mean()),
            "clean_removed": float(gone[~poisoned].mean()),
        }
    figures["same_rows"] = overlap(removed["ours"], removed["theirs"])
    if name == "spectral_signatures":
        figures["same_rows_if_theirs_were_centred"] = overlap(removed["ours"], centred(view))
    figures["theirs_over_ours_cpu"] = figures["theirs"]["cpu_s"] / figures["ours"]["cpu_s"]
    return figures


def swept(given: argparse.Namespace) -> Sweep:
    """The sweep whose victim is filtered."""
    real = {
        "name": "cifar10",
        "root": "$POISONSWEEP_DATA/cifar10",
        "subset": given.images,
    }
    model = {"name": "resnet18", "width": given.width}
    training = {"name": "fast", "epochs": given.epochs, "batch": 128, "peak": 0.2}
    victim = {
        "dataset": "digits" if given.tiny else real,
        "model": "small_cnn" if given.tiny else model,
        "training": {**training, "precision": "bf16"} if given.bf16 else training,
        "attacks": [{"name": "badnets", "m": given.m, "pipeline": "post_aug"}],
    }
    filters = [{"name": "spectral_signatures", "reject": "own", "limit": 1}]
    table = {"game": "filtering", "trusted": 0.05, "victim": victim, "filters": filters}
    return sweep_file.parse(table, "art")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--images", type=int, default=10000)
    words.add_argument("--width", type=int, default=16)
    words.add_argument("--m", type=int, default=500)
    words.add_argument("--epochs", type=int, default=6)
    words.add_argument("--bf16", action="store_true", help="the training of the model, not more")
    given = parsed(words, m=60, epochs=8)
    try:
        import art  # noqa: PLC0415
    except ImportError:
        print("skipped: adversarial-robustness-toolbox is not installed")
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        runtime = TrialRuntime(Artifacts(folder))
        sweep = swept(given)
        victim = filtering.filtered(sweep, sweep.filters[0])[0]
        record = must(run(training_of(unfiltered(victim)), runtime))
        trial = filtering_of(victim)
        view, rows = data_view(trial, runtime), untrusted(trial, runtime)
        view = replace(view, keep=lambda _, make: make())  # each side makes its own pass
        poisoned = torch.isin(rows, runtime.poisoning(unfiltered(victim)).places).numpy()
        figures = {
            "rows": len(rows),
            "poisoned": int(poisoned.sum()),
            "cda": record.metrics["cda"],
            "asr": record.metrics["asr"],
            "art": art.__version__,
            **{
                name: compared(view, poisoned, name)
                for name in ("spectral_signatures", "activation_clustering")
            },
        }
    write("art_filters", figures, tiny=given.tiny)


if __name__ == "__main__":
    main()
