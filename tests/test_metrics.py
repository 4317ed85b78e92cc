"""Predictions do not depend on how many images are taken at a time, and a processor takes few."""

import pytest
import torch
from torch import Tensor, nn

from trials.metrics import BATCH, BATCH_CPU, predictions
from trials.models import small_cnn

IMAGES = torch.randint(0, 256, (150, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(
    torch.uint8
)


class Counting(nn.Module):
    """A model that notes the size of each batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = small_cnn.build(10, 16, width=8)
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        logits: Tensor = self.body(x)
        return logits


@pytest.mark.parametrize(
    ("batch", "sizes"), [(0, [64, 64, 22]), (512, [150]), (149, [149, 1]), (1, [1] * 150)]
)
def test_predictions_are_the_same_whatever_the_batch(batch: int, sizes: list[int]) -> None:
    model = Counting().train()
    found = predictions(model, IMAGES, batch)
    assert model.sizes == sizes and model.training
    assert torch.equal(found, predictions(model, IMAGES, 7))
    assert len(found.unique()) > 1  # type: ignore[no-untyped-call]


@pytest.mark.gpu
def test_a_gpu_takes_more_at_a_time() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    model = Counting().cuda()
    predictions(model, IMAGES.repeat(5, 1, 1, 1))
    assert model.sizes == [BATCH, 750 - BATCH]
    assert BATCH > BATCH_CPU


def test_no_images_have_no_predictions() -> None:
    found = predictions(Counting(), IMAGES[:0])
    assert (found.shape, found.dtype) == ((0,), torch.int64)
