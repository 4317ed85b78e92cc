"""Execute docs/notebook.ipynb, and keep what its cells give.

    python docs/run_notebook.py

The page of the site is made from it by docs/site_hook.py.
"""

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")
SECONDS = 900  # that a cell may take


def executed(notebook: Path, folder: Path) -> Any:
    """The notebook with its cells executed in a folder. Raises an error where a cell does."""
    found = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(found, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    for cell in found.cells:
        cell.metadata.pop("execution", None)  # when it ran
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    found.metadata = {"kernelspec": found.metadata["kernelspec"]}
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = executed(NOTEBOOK, Path(folder))
        text = nbformat.writes(found).replace(str(Path(folder).resolve()), "folder")
    NOTEBOOK.write_text(re.sub(r"\n*\Z", "\n", text), encoding="utf-8")
    print(NOTEBOOK)


if __name__ == "__main__":
    sys.exit(main())
