"""The papers' own numbers, to stand beside ours.

Source: tables II-V, sections V and A-E of Lukas and Kerschbaum 2023, arXiv:2305.09671 (fractions in
[0, 1]); the ``badloss_*`` files: the BaDLoss paper and its authors' code (accuracies and ASR in
percent). They are references, not targets: the authors' preliminary code fed poisoned images to the
network without normalisation.
"""

import csv
import io
from collections.abc import Mapping
from functools import cache
from importlib import resources


@cache
def load(name: str) -> tuple[Mapping[str, str], ...]:
    """The rows of one reference file by its name without ``.csv``; every cell as text, as printed,
    empty where there is none.

    Raises:
        FileNotFoundError: there is no such file.
    """
    text = (resources.files(__name__) / f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(io.StringIO(text)))
