"""A small checkpoint of real digits, attacked, with a folder of PNGs and a sweep for ``defend``."""

from pathlib import Path
from typing import Any

import tiny_sweep
import torch
from PIL import Image

from results.selection.winners import winners
from results.store import Store
from sweep.commands import repair
from sweep.commands.defend import Order
from sweep.execution.worker import make_runtime
from trials import catalog
from trials.run import run
from trials.types import Images
from trials.weights.files import save_weights

ARCH = "small_cnn:width=8"
TOML = """
flip = false

[tuning]
copies = 1
record_every = 4
delta = 0.4

[self_poisoning]
scheme = "labels"
steps = 200
batch = 32
lr = 0.05
share = 0.2
reach = 0.3

[[defenses]]
name = "weight_decay"
profile = "small"
limit = 2
fixed = { steps = 24, batch = 32 }

[[defenses]]
name = "none"

[compute]
device = "cpu"
workers = 1
"""


def make(folder: Path) -> Path:
    """``model.safetensors``, ``trusted/`` and ``sweep.toml`` in the folder."""
    torch.set_num_threads(1)
    runtime = make_runtime(tiny_sweep.worker_config(folder / "artifacts"))
    training = tiny_sweep.first(
        tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "seeds": [3]}), "training"
    )
    assert run(training, runtime).status == "done"
    model = runtime.fresh(training.victim)
    model.load_state_dict(runtime.artifacts.load(training.id)[0])
    save_weights(model, folder / "model.safetensors")
    images = catalog.find("datasets", "digits")("train")
    for i in range(300):
        file = folder / "trusted" / str(int(images.y[i])) / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images.x[i].permute(1, 2, 0).numpy()).save(file)
    (folder / "sweep.toml").write_text(TOML)
    return folder


def asked(given: Path, **changes: Any) -> dict[str, Any]:
    """The arguments of ``defend``, but for ``out``."""
    return {
        "model": given / "model.safetensors",
        "arch": ARCH,
        "trusted": given / "trusted",
        "size": 16,
        "spec": given / "sweep.toml",
        **changes,
    }


def words(given: Path, out: Path, **changes: Any) -> list[str]:
    """The same for the command line."""
    told = {**asked(given, **changes), "out": out}
    return ["defend", *(w for k, v in told.items() for w in (f"--{k}", str(v)))]


def judged_on(order: Order) -> Images:
    """The report images that the repaired model's accuracy was measured on, after one defense."""
    with Store.open(order.url, create=False) as store:
        (winner,) = winners(store.records(order.sweep.name), order.sweep.rule)
    context, (_, _, report) = repair._ctx(order.sweep, winner, make_runtime(order.worker_config))
    return context.view.trusted.take(report)
