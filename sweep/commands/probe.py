"""Which normalisation a given model was trained with, where neither its user nor its configuration
says: the trusted images tell.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from results.selection.labels import percent
from trials import splits
from trials.metrics import predictions
from trials.models._normalize import Normalize
from trials.models.hugging_face import said_of_pixels
from trials.normalisation import CONSTANTS, Constants, in_words
from trials.runtime import TrialRuntime, generator
from trials.spec import MethodConfig, Victim
from trials.types import Images
from trials.weights.files import load_weights

SAMPLE = 250  # trusted images, at most, on which presets are compared
LEAD = 0.05  # accuracy by which a preset must be better than the architecture's own


def normalised(runtime: TrialRuntime, victim: Victim, *, asked: bool) -> tuple[Victim, str]:
    """The victim with the normalisation that fits its trusted images, as an explicit setting, and a
    sentence that says which it is and why.

    Args:
        runtime: where the model runs.
        victim: a given model.
        asked: the user said which; then nothing is tried.
    """
    model = runtime.fresh(victim)
    taken = load_weights(model, str(victim.training.params["weights"]))
    layer = next((m for m in model.modules() if isinstance(m, Normalize)), None)
    params = victim.model.params
    if layer is None or "norm" not in params:
        return victim, ""
    own = in_words(_constants(layer))
    if asked:
        return victim, f"Normalisation: {own}, as asked for."
    if said_of_pixels(str(params.get("preprocessor", ""))):
        return victim, f"Normalisation: {own}, of preprocessor_config.json."
    if "normalize.mean" in taken.names:
        return victim, f"Normalisation: {own}, which its weights file holds too."
    images = runtime.poisoning(victim).train
    order = splits.stratified_order(images.y, torch.arange(len(images)), generator(0, "probe"))
    few = images.take(order[:SAMPLE])
    others = {name: constants for name, constants in CONSTANTS.items() if name != own}
    now, *then = (_share(model, layer, c, few) for c in (_constants(layer), *others.values()))
    most, best = max(zip(then, others, strict=True))
    found = f"of {len(few)} trusted images {percent(most)} % are right with {best}"
    if most - now < LEAD:
        return victim, (
            f"Normalisation: {own}, the architecture's, with which {percent(now)} % are right; "
            f"{found}, the best of the others."
        )
    chosen = MethodConfig(victim.model.name, {**params, "norm": best}, victim.model.files)
    return replace(victim, model=chosen), (
        f"Normalisation: {best}, found by a probe: {found}, and {percent(now)} % with the "
        f"architecture's, {own}; --norm, or --mean and --std, say another."
    )


def _share(model: nn.Module, layer: Normalize, constants: Constants, images: Images) -> float:
    """Accuracy in [0, 1] with these constants, which the model's layer then has."""
    for buffer, values in zip((layer.mean, layer.std), constants, strict=True):
        buffer.copy_(torch.tensor(values))
    try:
        return float((predictions(model, images.x).cpu() == images.y).double().mean())
    except ArithmeticError:  # far from what the model was trained on
        return 0.0


def _constants(layer: Normalize) -> Constants:
    return _rounded(layer.mean), _rounded(layer.std)


def _rounded(values: Tensor) -> tuple[float, float, float]:
    red, green, blue = (round(v, 6) for v in values.tolist())
    return red, green, blue
