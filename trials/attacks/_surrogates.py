"""Models of an attacker's own, on which poison is crafted by gradient matching."""

from collections.abc import Mapping
from typing import Any

from torch import Generator, nn

from trials.spec import derive
from trials.train import clone
from trials.types import Poisoning
from trials.views import AttackerView


def surrogate(view: AttackerView, seed: int, member: int) -> nn.Module:
    """Member ``member`` of an ensemble, trained on the clean training set, in eval mode; made once
    and kept.
    """
    model = view.fresh(derive(seed, "weights", member))

    def make() -> Mapping[str, Any]:
        rng = Generator().manual_seed(derive(seed, "surrogate", member))
        return view.fit(model, Poisoning(view.train), rng).state_dict()

    model.load_state_dict(view.keep(f"surrogate: seed {seed}, member {member}", make))
    return clone(model).eval()


def retrained(
    view: AttackerView, poisoning: Poisoning, seed: int, member: int, step: int
) -> nn.Module:
    """A new model in that member's place, trained from scratch on poison as it was before iteration
    ``step``, in eval mode; not kept.
    """
    model = view.fresh(derive(seed, "weights", member, step))
    rng = Generator().manual_seed(derive(seed, "retrained", member, step))
    return clone(view.fit(model, poisoning, rng)).eval()
