"""The notebook of the docs runs as it stands, and its page shows what it gave."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from blocks import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
EXECUTE = """
import sys
from pathlib import Path
import run_notebook
import nbformat
Path("executed.ipynb").write_text(nbformat.writes(run_notebook.executed(Path(sys.argv[1]), Path())))
"""


def cells(file: Path) -> list[dict[str, Any]]:
    """The cells that hold code."""
    found = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def given(cell: dict[str, Any]) -> str:
    """All that a cell gave."""
    return json.dumps(cell["outputs"], ensure_ascii=False)


def test_the_notebook_is_kept_as_it_was_executed() -> None:
    found = cells(NOTEBOOK)
    assert [cell["execution_count"] for cell in found] == list(range(1, len(found) + 1))
    kinds = {output["output_type"] for cell in found for output in cell["outputs"]}
    assert "execute_result" in kinds and "error" not in kinds
    assert "<table" in given(next(c for c in found if "".join(c["source"]) == "outcome"))


def test_the_sites_page_has_all_cells_and_what_they_gave() -> None:
    pytest.importorskip("mkdocs", reason="no mkdocs: `make docs` installs it")
    sys.path.insert(0, str(ROOT / "docs"))
    import site_hook  # noqa: PLC0415

    page = site_hook.page_of(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    for cell in cells(NOTEBOOK):
        assert f"```python\n{''.join(cell['source'])}\n```" in page
    assert page.count("<table") >= 2 and "Written: <code>" in page


@pytest.mark.examples
@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    path = os.pathsep.join([str(ROOT), str(ROOT / "docs"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(NOTEBOOK)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, kept = cells(tmp_path / "executed.ipynb"), cells(NOTEBOOK)
    assert ["".join(c["source"]) for c in found] == ["".join(c["source"]) for c in kept]
    told = json.loads((tmp_path / "repaired" / "choice.json").read_text())
    assert told["trials"]["failed"] == 0 and told["verdict"] in given(found[3])
    assert given(found[-1]).count("True") == 1
