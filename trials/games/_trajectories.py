"""The losses that a filter tracked, as the judge keeps them: medians of each attack's rows and of
the clean ones, a few dozen numbers instead of one for each row and epoch.
"""

import math
from collections.abc import Mapping

import numpy as np
from torch import Tensor

EPOCHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)  # that are kept, and the last
CLEAN = "clean"


def trajectories(losses: Tensor, rows: Mapping[str, Tensor]) -> dict[str, float]:
    """``loss/NAME/E``, the median loss of a group of rows after epoch E; of the clean rows the
    quartiles ``loss_25/clean/E`` and ``loss_75/clean/E`` too. What is not finite is left out.

    Args:
        losses: float (n, epochs).
        rows: by name bool (n,), of which some are true.
    """
    last = losses.shape[1]
    epochs = [*(e for e in EPOCHS if e < last), last]
    found: dict[str, float] = {}
    for name, mine in rows.items():
        own = losses[mine][:, [e - 1 for e in epochs]].double().numpy()
        low, middle, high = np.quantile(own, (0.25, 0.5, 0.75), axis=0).tolist()
        found |= {f"loss/{name}/{e}": v for e, v in zip(epochs, middle, strict=True)}
        if name == CLEAN:
            found |= {f"loss_25/{name}/{e}": v for e, v in zip(epochs, low, strict=True)}
            found |= {f"loss_75/{name}/{e}": v for e, v in zip(epochs, high, strict=True)}
    return {key: value for key, value in found.items() if math.isfinite(value)}
