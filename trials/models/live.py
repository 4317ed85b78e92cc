"""Live networks: a network of your own that lives in a session of Python.

Source: none; ``poisonsweep.defend`` writes it down for its workers, and no stranger's file can name
it.
Deviation: normalisation is a hook before the network, and weights are made float32.
"""

import functools
import hashlib
from pathlib import Path
from typing import Literal

from torch import nn

from trials.models._any_network import adapted, check
from trials.models._live_code import loads
from trials.normalisation import Constants, asked_for
from trials.spec import Location, SpecError


def build(
    classes: int,
    size: int,
    /,
    *,
    code: Location = "",
    sha256: str = "",
    norm: Literal["none", "cifar10", "imagenet", "half"] = "none",
    mean: str = "",
    std: str = "",
    grey: bool = False,
) -> nn.Module:
    """A new network of the live one's class, with weights drawn from torch's global generator.

    Args:
        classes: number of classes, which must be that of its outputs.
        size: side of the images in pixels.
        code: the file that ``poisonsweep.defend`` wrote of it.
        sha256: of that file, which is not opened where it is another.
        norm: constants of the normalisation; none: the network takes images in [0, 1].
        mean: of each channel in place of those of norm, as 0.49,0.48,0.45; std with it.
        std: standard deviation of each channel.
        grey: the network takes one channel, the mean of the three.

    Raises:
        SpecError: the file is another, or the network does not take images of that size.
    """
    _checked(code, sha256, classes, size, grey)
    return _built(code, sha256, asked_for(norm, mean, std), grey)


@functools.lru_cache
def _checked(code: str, sha256: str, classes: int, size: int, grey: bool) -> None:
    """``check``, once a process."""

    def network(*_: object) -> nn.Module:
        return _built(code, sha256, "none", grey)

    check("the module", network, (sha256, grey), classes, size)


def _built(code: str, sha256: str, norm: str | Constants, grey: bool) -> nn.Module:
    return adapted(loads(_read(code, sha256)), norm, grey=grey)


def _read(code: str, sha256: str) -> bytes:
    """The file's bytes, which are what ``defend`` wrote."""
    content = Path(code).read_bytes() if code else b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SpecError(
            f"live: {code!r} is not the file that poisonsweep.defend wrote. Call it again."
        )
    return content
