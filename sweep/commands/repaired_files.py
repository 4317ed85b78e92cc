"""The files that a repaired model is written to: one, or a folder where it came as a Hugging Face
folder.
"""

import shutil
from pathlib import Path

from torch import nn

from sweep.commands.given_model import HUGGING_FACE
from sweep.commands.outputs import FOLDER, WEIGHTS
from trials.runtime import TrialRuntime
from trials.spec import Victim
from trials.weights.files import load_weights, save_weights

_LOADED = "model.safetensors"  # as from_pretrained looks for it


def weights_in(out: Path) -> Path | None:
    """The weights of the repaired model; None where there are none."""
    return next((f for f in (out / WEIGHTS, out / FOLDER / _LOADED) if f.is_file()), None)


def remove(out: Path) -> None:
    """Remove the repaired model that an earlier run left."""
    (out / WEIGHTS).unlink(missing_ok=True)
    if (out / FOLDER).is_dir():
        shutil.rmtree(out / FOLDER)


def write(model: nn.Module, victim: Victim, runtime: TrialRuntime, out: Path) -> Path:
    """Write a repaired model, and return the file of its weights.

    One of a Hugging Face folder gets a folder that ``from_pretrained`` loads: the configurations as
    they were, and the weights under the names that they came with.
    """
    remove(out)
    if victim.model.name != HUGGING_FACE:
        save_weights(model, out / WEIGHTS)
        return out / WEIGHTS
    taken = load_weights(runtime.fresh(victim), str(victim.training.params["weights"]))
    folder = out / FOLDER
    folder.mkdir()
    for key in ("config", "preprocessor"):
        if given := str(victim.model.params[key]):
            shutil.copyfile(given, folder / Path(given).name)
    save_weights(model, folder / _LOADED, taken.names)
    return folder / _LOADED
