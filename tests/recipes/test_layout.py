"""How images and weights lie in memory while a recipe trains."""

import pytest
import torch

from trials.recipes import _loop


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("multiplies", [False, True])
@pytest.mark.parametrize("low", [False, True])
def test_channels_are_last_but_where_bf16_is_imitated(
    device: str, multiplies: bool, low: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_loop, "multiplies_bf16", lambda: multiplies)
    imitated = device == "cpu" and low and not multiplies
    wanted = torch.contiguous_format if imitated else torch.channels_last
    assert _loop._layout(torch.device(device), low) is wanted
