"""A test that needs Ray, a server or a browser, and does not say so, fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CONFTEST = """
import markers, pytest
def pytest_configure(config):
    config.pluginmanager.register(markers)
@pytest.fixture
def postgres_server():
    return None
"""
OPTIONS = [
    "-p",
    "no:cacheprovider",
    "-q",
    "--strict-markers",
    "-o",
    "markers=ray\npostgres\nbrowser\nchaos\nfuzz",
]


def ran(folder: Path, name: str, code: str) -> tuple[int, str]:
    """Exit code and output of pytest on one test file."""
    (folder / "conftest.py").write_text(CONFTEST)
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code)
    words = [sys.executable, "-m", "pytest", *OPTIONS, "--rootdir", str(folder), str(file)]
    env = {k: v for k, v in os.environ.items() if k != "RAY_TMPDIR"} | {"PYTHONPATH": str(HERE)}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


IMPORTS = "def test_x():\n    import ray\n\ndef test_y():\n    pass\n"
REFUSED = {
    "an import in a test": (
        "test_x.py",
        IMPORTS,
        "test_x: it imports ray",
        "ray",
    ),
    "an import of the file": (
        "test_x.py",
        "from ray import tune\ndef test_x(): pass\n",
        "it imports ray",
        "ray",
    ),
    "a fixture": (
        "test_x.py",
        "def test_x(postgres_server): pass\n",
        "it uses postgres_server",
        "postgres",
    ),
    "a folder": ("chaos/test_x.py", "def test_x(): pass\n", "it lies in chaos/", "chaos"),
}
STARTS = """
import os, pathlib, subprocess, pytest, shutil
{mark}
def test_x(tmp_path):
    program = tmp_path / "{program}"
    program.symlink_to(shutil.which("true"))
    subprocess.run([program], check=True)
"""
IN_A_CHILD = """
import os, pathlib, subprocess, pytest, sys
{mark}
def test_x(tmp_path):
    code = "import os; os.makedirs(os.environ.get('RAY_TMPDIR', 'here') + '/ray/session_1')"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
"""


@pytest.mark.parametrize("case", REFUSED)
def test_a_need_that_shows_is_refused_at_collection(case: str, tmp_path: Path) -> None:
    name, code, why, marker = REFUSED[case]
    exit_code, said = ran(tmp_path, name, code)
    assert exit_code == pytest.ExitCode.USAGE_ERROR
    assert why in said and f"it needs @pytest.mark.{marker}" in said
    assert "test_y" not in said


@pytest.mark.parametrize(
    ("program", "marker"), [("raylet", "ray"), ("pg_ctl", "postgres"), ("chromium", "browser")]
)
def test_a_program_is_started_by_marked_tests_alone(
    program: str, marker: str, tmp_path: Path
) -> None:
    exit_code, said = ran(tmp_path, "test_x.py", STARTS.format(program=program, mark=""))
    assert (
        exit_code == pytest.ExitCode.TESTS_FAILED and f"so it needs @pytest.mark.{marker}" in said
    )
    exit_code, said = ran(
        tmp_path, "test_x.py", STARTS.format(program=program, mark=f"@pytest.mark.{marker}")
    )
    assert exit_code == 0, said


def test_a_ray_of_another_process_is_seen(tmp_path: Path) -> None:
    exit_code, said = ran(tmp_path, "test_x.py", IN_A_CHILD.format(mark=""))
    assert exit_code == pytest.ExitCode.TESTS_FAILED and "so it needs @pytest.mark.ray" in said
    exit_code, said = ran(tmp_path, "test_x.py", IN_A_CHILD.format(mark="@pytest.mark.ray"))
    assert exit_code == 0, said
