"""A store or an artifact that may not grow, by a limit on files as by a full disk: waited for, and
told rightly.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FULL = """
import resource, sys, threading
from pathlib import Path
from results.store import Store
from trials.spec import SpecError

folder, seconds, room = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "room"
with Store.open(f"sqlite:///{folder}/s.db") as store:
    said = []
    patient = store.patient(seconds, said.append)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(folder, "s.db-wal").stat().st_size, before[1]))
    if room:
        def make(text):
            said.append(text)
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        patient = store.patient(seconds, make)
    try:
        patient.add_sweep("s", {"text": "x" * 10_000_000})
    except SpecError as problem:
        said.append(str(problem))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    print(len(store.sweeps()), len(said), said[-1])
"""
ARTIFACT = """
import resource, sys, torch
from trials.storage.artifacts import Artifacts
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    Artifacts(sys.argv[1]).save("key", {"w": torch.zeros(10_000)}, {})
except OSError as problem:
    print(problem)
"""


def said(code: str, *words: str) -> str:
    command = [sys.executable, "-c", code, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("seconds", "room", "found"),
    [
        (
            "3",
            "none",
            "0 2 store sqlite:////{folder}/s.db could not be used for 3 s: disk I/O error. "
            "Everything",
        ),
        (
            "60",
            "room",
            "1 1 store sqlite:////{folder}/s.db cannot be used now (disk I/O error); trying for "
            "up to 60 s",
        ),
    ],
)
def test_a_store_that_may_not_grow_is_waited_for(
    tmp_path: Path, seconds: str, room: str, found: str
) -> None:
    text = said(FULL, str(tmp_path), seconds, room)
    assert text.startswith(found.format(folder=str(tmp_path).lstrip("/")))


def test_an_artifact_that_may_not_grow_says_what_to_do(tmp_path: Path) -> None:
    text = said(ARTIFACT, str(tmp_path))
    assert (
        "the limit on a file's size, is used up: make room, then run again with --retry-failed"
        in text
    )
    assert not list(tmp_path.iterdir())
