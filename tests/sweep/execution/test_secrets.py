"""A password leaves the command line, and processes that are started do not inherit it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_sweep

from sweep.execution import runner, secrets
from trials.spec import SpecError

URL = "postgresql://me:hunter2@host/db"


@pytest.mark.parametrize(
    ("words", "kept", "address"),
    [
        (["run", "a.toml", "--store", URL, "--local"], ["run", "a.toml", "--local"], URL),
        (["run", f"--store={URL}", "a.toml"], ["run", "a.toml"], URL),
        (
            ["run", "--store", "postgresql://me@host/db?password=hunter2"],
            ["run"],
            "postgresql://me@host/db?password=hunter2",
        ),
        (
            ["run", "--store", "postgresql://me@host/db"],
            ["run", "--store", "postgresql://me@host/db"],
            "",
        ),
        (["run", "--store", "runs/x.db"], ["run", "--store", "runs/x.db"], ""),
        (["run", "--store", "nonsense"], ["run", "--store", "nonsense"], ""),
        (["run", "a.toml", "--store"], ["run", "a.toml", "--store"], ""),
    ],
)
def test_only_a_store_with_a_password_leaves_the_command_line(
    words: list[str], kept: list[str], address: str
) -> None:
    assert secrets.moved(words) == (kept, address)


def test_a_child_does_not_inherit_passwords_and_the_parent_keeps_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    monkeypatch.setenv(secrets.STORE, URL)
    with secrets.kept_from_children():
        done = subprocess.run(
            [sys.executable, "-c", "import os; print(dict(os.environ))"],
            capture_output=True,
            check=True,
        )
    assert b"hunter2" not in done.stdout
    assert (os.environ["PGPASSWORD"], os.environ[secrets.STORE]) == ("hunter2", URL)


def test_no_folder_is_named_by_a_url_that_looks_like_a_file() -> None:
    worker_config = runner.worker_config_of(
        tiny_sweep.sweep(), "postgresql://me:hunter2@host/sweeps.db"
    )
    assert Path(worker_config.artifacts) == Path("runs/artifacts").resolve()


def test_a_url_without_its_beginning_is_refused_without_repeating_it() -> None:
    with pytest.raises(SpecError, match="is not an address") as caught:
        runner.worker_config_of(tiny_sweep.sweep(), "me:hunter2@host/db")
    assert "hunter2" not in str(caught.value)
