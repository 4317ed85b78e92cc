"""A store of a real sweep with its weights, to take apart."""

import shutil
from pathlib import Path

HERE = Path(__file__).parents[1] / "compatibility"
SWEEP = "before"
MADE = len(list((HERE / "artifacts").glob("[0-9a-f]*")))  # victims and copies with weights


def taken(folder: Path) -> str:
    """The address of a copy of the store in ``folder``, its weights beside it."""
    folder.mkdir()
    shutil.copy(HERE / "before.db", folder / "s.db")
    shutil.copytree(HERE / "artifacts", folder / "artifacts")
    return f"sqlite:///{folder}/s.db"
