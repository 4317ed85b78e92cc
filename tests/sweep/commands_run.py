"""Commands run in this process, and the one line with which they are refused."""

import pytest

from sweep.cli import main

Capture = pytest.CaptureFixture[str]


def called(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in args])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def refused(capsys: Capture, *args: object) -> str:
    """The one line with which a command was refused."""
    assert called(*args) == 2
    said = capsys.readouterr()
    assert said.err.startswith("poisonsweep: ")
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    return said.err
