"""A program that a failed test leaves running ends with that test, and so does what it started."""

import os
import select
import signal
from pathlib import Path

import programs
import pytest
from programs import HANGS, Program

STARTS = """
import subprocess, sys
child = subprocess.Popen(["sh", "-c", 'exec sleep infinity > "$1"', "sh", sys.argv[1]])
if sys.argv[2] == "waits":
    child.wait()
"""


@pytest.mark.parametrize(("then", "code"), [("waits", -signal.SIGKILL), ("ends", 0)])
def test_what_a_test_left_running_is_killed_with_what_it_started(
    then: str, code: int, tmp_path: Path
) -> None:
    writes = tmp_path / "open for as long as the last of them lives"
    os.mkfifo(writes)
    program = Program(["-c", STARTS, str(writes), then], tmp_path, os.environ)
    with writes.open("rb", buffering=0) as stream:
        if then == "ends":
            program.wait(HANGS)
        assert not select.select([stream], [], [], 0.1)[0]
        programs.end_all()
        assert program.returncode == code
        assert select.select([stream], [], [], HANGS)[0]
        assert stream.read() == b""


def test_one_that_has_ended_is_let_alone(tmp_path: Path) -> None:
    program = Program(["-c", "print('done')"], tmp_path, os.environ)
    assert program.communicate() == ("done\n", "")
    programs.end_all()
    assert program.returncode == 0
