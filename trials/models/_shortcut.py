"""The strided 1x1 convolution of a residual block, right on every processor.

Source: He et al. 2016, arXiv:1512.03385, option B.
Deviation: with few input channels the pixels are left out beforehand, which is the same. oneDNN's
gradient of a stride writes past its memory there, with channels last and on processors with AVX2
(https://github.com/uxlfoundation/oneDNN/issues/6035).
"""

import torch.nn.functional as F
from torch import Tensor, nn

_BLOCK = 16  # channels that oneDNN takes together, at most; with as many the stride is right


def shortcut(before: int, after: int, stride: int) -> nn.Conv2d:
    """A 1x1 convolution without bias from ``before`` to ``after`` channels, of every ``stride``-th
    pixel each way.
    """
    kind = nn.Conv2d if before >= _BLOCK else _Skipping
    return kind(before, after, 1, stride, bias=False)


class _Skipping(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        down, across = self.stride
        return F.conv2d(x[:, :, ::down, ::across], self.weight)
