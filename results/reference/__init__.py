"""The papers' own numbers, to stand beside ours.

Source: tables II-V, sections V and A-E of Lukas and Kerschbaum 2023, arXiv:2305.09671 (fractions in
[0, 1]); the ``badloss_*`` files: the BaDLoss paper and its authors' code (accuracies and ASR in
percent). They are references, not targets: the authors' preliminary code fed poisoned images to the
network without normalisation.
"""

from importlib import resources

import pandas as pd


def load(name: str) -> pd.DataFrame:
    """One reference file by its name without ``.csv``; every cell as text, as printed, empty where
    there is none.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with (resources.files(__name__) / f"{name}.csv").open(encoding="utf-8") as stream:
        return pd.read_csv(stream, dtype=str, keep_default_na=False)
