"""Commands and examples of README and docs run as they stand, page by page, in an empty folder."""

import doctest
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from blocks import ALL, PAGES, ROOT, RUNNABLE, Block, sessions

from results.store import Store

SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# `defend` may end with exit code 3: the model is not repaired
SHELL = """set -e
poisonsweep() {
  command poisonsweep "$@" || { local code=$?; [[ $1 == defend && $code == 3 ]] || return $code; }
}
"""
RUN = [
    p
    for p in PAGES
    if any(b.lang in RUNNABLE and b.lang != "toml" and not b.reason for b in ALL if b.page == p)
]


def called(words: list[str], folder: Path, codes: tuple[int, ...] = (0,)) -> str:
    """What a program of a reader prints, in their folder."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("POISONSWEEP_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment |= {"PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment,
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode in codes, done.stdout
    assert re.findall(r"\(([1-9]\d*) failed", done.stdout) == [], done.stdout
    return done.stdout


def folder_of_a_reader(folder: Path) -> None:
    """What a reader of the pages has beside them: the examples' files, writable by nobody else."""
    for name in ("examples", "docs/methods"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def run(block: Block, folder: Path) -> str:
    """Run a block as its language says. Returns what it printed."""
    if block.file:
        (folder / block.file).write_text(block.text, encoding="utf-8")
    if block.lang == "bash":
        return called(["bash", "-c", SHELL + block.text], folder)
    if block.lang == "console":
        for command, expected in sessions(block):
            got = called(["bash", "-c", command], folder, (0, 2))
            told = doctest.OutputChecker().output_difference(
                doctest.Example(command, expected), got, SAME
            )
            assert doctest.OutputChecker().check_output(expected, got, SAME), told
    if block.lang == "python" and not imported(block):
        (folder / "example.py").write_text(block.text, encoding="utf-8")
        return called([sys.executable, "example.py"], folder)
    return ""


def imported(block: Block) -> bool:
    """Whether a block shows a file of docs/methods, which the page's sweep runs."""
    return any(
        block.text == f.read_text(encoding="utf-8")
        for f in (ROOT / "docs" / "methods").rglob("*.py")
    )


def retake() -> ModuleType:
    spec = importlib.util.spec_from_file_location("retake", ROOT / "docs" / "retake.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.examples
@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda p: p.name)
def test_a_page_runs_from_its_first_line_to_its_last(page: Path, tmp_path: Path) -> None:
    folder_of_a_reader(tmp_path)
    mine = [b for b in ALL if b.page == page and not b.reason]
    printed = [run(b, tmp_path) for b in mine]
    assert "".join(printed)
    if page.name == "README.md":
        assert len(re.findall(r"\d% of the backdoor left", printed[0])) == 2
        with Store.open(f"sqlite:///{tmp_path}/first.db", create=False) as store:
            head = retake().short(store.records("first")).splitlines()[:4]
        # the demo's block is one that retake.py writes
        assert "\n".join(head) in page.read_text(encoding="utf-8")


def test_the_pages_that_run_are_those_that_teach() -> None:
    assert {p.name for p in RUN} == {"README.md", "tutorial.md", "add-a-method.md", "api.md"}


@pytest.mark.parametrize(
    "file", sorted((ROOT / "docs" / "methods").rglob("*.py")), ids=lambda f: f.stem
)
def test_every_example_of_a_method_is_on_the_page(file: Path) -> None:
    name = file.relative_to(ROOT / "docs").as_posix()
    assert f"--8<--\n{name}\n" in (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
