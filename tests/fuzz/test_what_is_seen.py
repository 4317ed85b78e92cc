"""The checks themselves: a file outside, code that runs, memory, a reader that dies and a crash are
all seen.
"""

import os
import pickle
import resource
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fences
import fuzzing
import pytest
from fences import MARK, escapes, fenced, lean, peak
from strange_weights import TORCH, Code, loaded

from trials.spec import SpecError
from trials.weights import _unpack

pytestmark = pytest.mark.fuzz


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """A tally of this test's own, of the kind ``x``."""
    own: dict[str, Counter[str]] = defaultdict(Counter)
    monkeypatch.setattr(fuzzing, "TALLY", own)
    return own["x"]


@pytest.mark.parametrize("where", ["..", "../..", "../../..", "~", "$TMPDIR", "watched"])
def test_a_file_outside_is_seen(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fences, "WATCHED", [tmp_path, *fences.WATCHED])
    with pytest.raises(AssertionError, match="made outside"), fenced():
        folder = tmp_path if where == "watched" else Path(os.path.expandvars(where)).expanduser()
        (folder / f"{MARK}-test").write_bytes(b"x")
    assert not fences.strays(), "it is removed, so that the next input is not blamed"
    with fenced():
        pass


def test_every_path_trick_leads_to_a_place_that_is_watched() -> None:
    with fenced() as here:
        own = {
            here.parent,
            here.parent.parent,
            *(here.parent.parent / name for name in ("home", "tmp")),
        }
        for path in escapes():
            if not path.startswith(("archive/", "..\\", "C:")):  # as they stand, these lead nowhere
                to = (here / Path(os.path.expandvars(path)).expanduser()).resolve()
                assert to.parent in {*own, *fences.WATCHED}, path


@pytest.mark.parametrize("how", ["exec", "Path.touch"])
def test_code_that_runs_is_seen_in_the_folder(how: str) -> None:
    with fenced() as here:
        pickle.loads(pickle.dumps(Code(how)))
        assert [p.name for p in here.iterdir()] == [f"ran-{MARK}"]


def test_code_that_runs_is_seen_outside() -> None:
    with pytest.raises(AssertionError, match="made outside"), fenced():
        pickle.loads(pickle.dumps(Code("os.system")))
    assert not fences.strays()


def test_memory_is_seen() -> None:
    now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    with pytest.raises(AssertionError, match="MiB of memory"), lean(2**26):
        assert len(b"x" * (2**27 + peak() - now))  # some kernels keep the peak of the tests before
    with lean(2**26):
        assert len(b"x" * 2**25)


def ended(code: int) -> Callable[..., Any]:
    return lambda *_: subprocess.CompletedProcess([], code, b"", b"")


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(-11, "contained"), (-9, "contained"), (1, "contained"), (2, "contained"), (0, "refused")]
    + [
        (code, "refused")
        for code in (_unpack.CODE, _unpack.NO_STATE, _unpack.DAMAGED, _unpack.TOO_MUCH)
    ],
)
def test_a_reader_that_dies_is_told_from_one_that_refuses(
    code: int, verdict: str, counted: Counter[str]
) -> None:
    assert loaded("x", TORCH["zip"], ended(code)) == verdict  # type: ignore[arg-type]
    assert counted == {verdict: 1}


@pytest.mark.parametrize("problem", [ValueError("no"), RecursionError(), KeyError("conv1")])
def test_an_error_in_this_process_is_a_crash(problem: Exception, counted: Counter[str]) -> None:
    def broken(*_: object) -> Any:
        raise problem

    with pytest.raises(type(problem)):
        loaded("x", TORCH["zip"], broken)  # type: ignore[arg-type]
    assert counted == {"crashed": 1}


def test_a_second_line_is_a_crash(counted: Counter[str]) -> None:
    def call() -> str:
        return fuzzing.judged(2, "", "poisonsweep: one\ntwo\n")

    with pytest.raises(AssertionError):
        fuzzing.tallied("x", call)
    assert counted == {"crashed": 1}


def test_a_changed_model_is_a_crash(counted: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def half(model: Any, _: object) -> None:
        model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()})
        raise SpecError("too late")

    monkeypatch.setattr("strange_weights.load_weights", half)
    with pytest.raises(AssertionError, match="changed the model"):
        loaded("x", TORCH["zip"], ended(0))  # type: ignore[arg-type]
    assert counted == {"crashed": 1}
