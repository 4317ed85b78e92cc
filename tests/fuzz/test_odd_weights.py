"""States that no trained model has: other types and layouts, no numbers, odd names, wrappers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from forked_reader import Reader
from strange_weights import given_to_defend, legacy, loaded, state, zipped
from torch import nn

pytestmark = pytest.mark.fuzz

VALUES: dict[str, Callable[[], Any]] = {
    "nan": lambda: {k: v * float("nan") for k, v in state().items()},
    "infinite": lambda: {
        k: v + float("inf") if v.is_floating_point() else v for k, v in state().items()
    },
    "complex": lambda: {k: v.to(torch.complex64) for k, v in state().items()},
    "complex counters": lambda: {
        k: v.to(torch.complex64) if k.endswith("tracked") else v for k, v in state().items()
    },
    "booleans": lambda: {k: v.bool() for k, v in state().items()},
    "sparse": lambda: {k: v.to_sparse() if v.dim() == 2 else v for k, v in state().items()},
    "quantised": lambda: {
        k: torch.quantize_per_tensor(v.float(), 0.1, 0, torch.qint8) for k, v in state().items()
    },
    "meta": lambda: {k: v.to("meta") for k, v in state().items()},
    "expanded to 2^50 numbers": lambda: {"fc.bias": torch.zeros(1).expand(2**25, 2**25)},
    "right shapes of one number": lambda: {
        k: v
        if k.startswith("normalize.") or not v.dim()
        else torch.ones(1, dtype=v.dtype).expand(v.shape)
        for k, v in state().items()
    },
    "strings": lambda: dict.fromkeys(state(), "x"),
    "lists of tensors": lambda: {k: [v] for k, v in state().items()},
    "numbers for names": lambda: dict(enumerate(state().values())),
    "thousand-character names": lambda: {k * 1000: v for k, v in state().items()},
    "controls in names": lambda: {f"\x1b[2J{k}\n": v for k, v in state().items()},
    "a model, not a state": lambda: nn.Linear(2, 2),
    "numpy": lambda: {k: v.numpy() for k, v in state().items()},
    "wrapped in itself": lambda: _knot(),  # noqa: PLW0108 - defined below
    "wrapped two hundred times": lambda: _wrapped(200),
}


def _knot() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["model"] = value
    return value


def _wrapped(depth: int) -> Any:
    value: Any = state()
    for _ in range(depth):
        value = {"state_dict": value}
    return value


FITTING = ("right shapes of one number",)  # a state like any other, once it is read


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("what", VALUES)
def test_what_no_model_has_is_refused(what: str, reader: Reader, images: Path) -> None:
    value = VALUES[what]()
    for content in (zipped(value), legacy(value)):
        given_to_defend("checkpoint, odd values", content, images, reader)
        assert loaded("checkpoint, odd values", content, reader) == (
            "accepted" if what in FITTING else "refused"
        )
