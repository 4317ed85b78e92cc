"""A training that was cut short goes on from its checkpoint as if nothing had been: the same
weights, bit for bit.
"""

import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from trials import catalog
from trials.attacks import badnets, pcb
from trials.datasets import digits
from trials.models import resnet18
from trials.storage.blobs import LocalBlobStore
from trials.storage.checkpoint import Checkpointer
from trials.types import Poisoning

EPOCHS = 5
SETTINGS: dict[str, dict[str, Any]] = {
    "fast": {"epochs": EPOCHS, "batch": 16, "peak": 0.1, "precision": "fp32"},
    "paper": {"epochs": EPOCHS, "batch": 16, "lr": 0.05},
}
Report = tuple[int, int, float]


class Dropping(nn.Module):
    """A model that draws from torch's own generator as it trains."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = resnet18.build(10, 8, width=4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(torch.dropout(x, 0.1, self.training))
        return logits


def backdoor(attack: str) -> Poisoning:
    data = digits.load("train", size=8).take(torch.arange(90))
    make = {
        "badnets": lambda rng: badnets.poison(data, rng, m=9),
        "pcb": lambda rng: pcb.implant(data, rng, part=0.5),
    }
    made: Poisoning = make[attack](Generator().manual_seed(3))
    return made


def checkpointer(folder: Path, every: float = 0) -> Checkpointer:
    return Checkpointer(
        LocalBlobStore(folder), "trial", every, {"torch": torch.__version__, "threads": "1"}
    )


def trained(
    recipe: str, attack: str, checkpointer: Checkpointer | None, epochs: int = EPOCHS
) -> tuple[dict[str, Tensor], list[Report]]:
    """The state after ``epochs`` epochs, at which the process may be taken to have died, and what
    was reported.
    """
    model, rng = Dropping().to(memory_format=torch.channels_last), Generator().manual_seed(1)
    torch.manual_seed(2)
    fit = catalog.find("recipes", recipe)(
        model, backdoor(attack), rng, checkpointer, **SETTINGS[recipe]
    )
    return model.state_dict(), list(fit if epochs == EPOCHS else islice(fit, epochs))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def cut_at() -> int:
    """Another epoch in every run of the tests."""
    return int(
        torch.randint(1, EPOCHS, (1,), generator=Generator().manual_seed(Generator().seed()))
    )


@pytest.mark.parametrize("recipe", ["fast", "paper"])
@pytest.mark.parametrize("attack", ["badnets", "pcb"])
def test_a_training_cut_at_any_epoch_ends_with_the_same_weights_and_losses(
    tmp_path: Path, recipe: str, attack: str
) -> None:
    at = cut_at()
    whole, reports = trained(recipe, attack, None)
    half, _ = trained(recipe, attack, checkpointer(tmp_path), at)
    assert not same(half, whole)
    second = checkpointer(tmp_path)
    again, repeated = trained(recipe, attack, second)
    assert same(again, whole), at
    assert repeated == reports
    assert second.notes["resumed"] == f"once, last at step {reports[at - 1][0]}"


def test_one_that_is_cut_twice_counts_its_resumptions(tmp_path: Path) -> None:
    whole, _ = trained("fast", "pcb", None)
    for epochs in (1, 3):
        trained("fast", "pcb", checkpointer(tmp_path), epochs)
    last = checkpointer(tmp_path)
    again, _ = trained("fast", "pcb", last)
    assert same(again, whole)
    assert last.notes["resumed"].startswith("2 times")


def test_the_seconds_up_to_the_checkpoint_count(tmp_path: Path) -> None:
    first = checkpointer(tmp_path)
    time.sleep(0.3)
    trained("fast", "badnets", first, 2)
    began, second = time.monotonic(), checkpointer(tmp_path)
    trained("fast", "badnets", second)
    assert second.elapsed() > time.monotonic() - began + 0.3


def test_a_short_training_writes_nothing(tmp_path: Path) -> None:
    trained("fast", "badnets", checkpointer(tmp_path, every=60))
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("harm", ["flipped", "cut", "emptied", "of another model", "other facts"])
def test_a_damaged_checkpoint_is_dropped_and_the_training_begins_anew(
    tmp_path: Path, harm: str
) -> None:
    whole, reports = trained("fast", "pcb", None)
    trained("fast", "pcb", checkpointer(tmp_path), 2)
    (file,) = tmp_path.rglob("*.safetensors")
    blob = file.read_bytes()
    if harm == "of another model":
        other, rng = nn.Linear(2, 2), Generator()
        checkpointer(tmp_path).keep(
            other, [torch.optim.SGD(other.parameters(), 0.1)], rng, {"step": 1}
        )
    else:
        flipped = blob[:-9] + bytes([blob[-9] ^ 1]) + blob[-8:]
        facts = blob.replace(b'\\"step\\": 10', b'\\"step\\": 15')
        file.write_bytes(
            {"flipped": flipped, "cut": blob[:-40], "emptied": b"", "other facts": facts}[harm]
        )
    assert file.read_bytes() != blob
    second = checkpointer(tmp_path, every=60)
    again, repeated = trained("fast", "pcb", second)
    assert "resumed" not in second.notes
    assert second.notes["checkpoint"].startswith("damaged and dropped, so it began anew")
    assert not file.exists()
    assert same(again, whole)
    assert repeated == reports


def test_a_checkpoint_of_another_version_is_used_and_named(tmp_path: Path) -> None:
    trained(
        "fast",
        "badnets",
        Checkpointer(LocalBlobStore(tmp_path), "trial", 0, {"torch": "1.0", "threads": "1"}),
        2,
    )
    second = checkpointer(tmp_path)
    trained("fast", "badnets", second)
    assert second.notes["begun_with"] == "torch 1.0"


def test_a_checkpoint_that_cannot_be_written_costs_the_training_nothing(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    whole, _ = trained("fast", "badnets", None)
    kept = checkpointer(tmp_path)
    again, _ = trained("fast", "badnets", kept)
    assert same(again, whole)
    assert kept.notes["checkpoint"].startswith("not ")
