"""A node with another version is named before anything runs there."""

import sys
from pathlib import Path

import pytest
import tiny_sweep

from sweep.console.progress import ConsoleProgress
from sweep.console.terminal import Plain
from sweep.execution import versions
from sweep.execution.progress import Progress
from sweep.execution.versions import must_be, must_match, notes
from trials.spec import SpecError


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    facts = {
        **versions.here(),
        "poisonsweep": "0.1.0",
        "code": "aa",
        "methods": "none",
        "python": "3.11.7",
        "torch": "2.9",
    }
    monkeypatch.setattr(versions, "here", lambda: facts)
    return facts


def test_the_same_version_is_welcome(ours: dict[str, str]) -> None:
    must_match("10.0.0.2", dict(ours))
    must_be("aa")
    must_be("")
    assert notes([("10.0.0.2", dict(ours))]) == []


def test_other_code_is_refused_with_both_versions(ours: dict[str, str]) -> None:
    with pytest.raises(SpecError) as refused:
        must_match("10.0.0.2", {**ours, "poisonsweep": "0.2.0", "code": "bb"})
    assert str(refused.value).startswith(
        "the node 10.0.0.2 has another poisonsweep (0.2.0, code bb) than this driver (0.1.0, code "
        "aa), "
    )
    assert "--ship" in str(refused.value)
    with pytest.raises(RuntimeError, match=r"code aa\) than the driver \(bb\)"):
        must_be("bb")


def test_a_version_that_does_not_say_which_it_is_is_refused() -> None:
    with pytest.raises(SpecError, match=r"another poisonsweep \(too old to say which\)"):
        must_match("10.0.0.2", {})


def test_other_methods_of_ones_own_are_refused(ours: dict[str, str]) -> None:
    with pytest.raises(
        SpecError,
        match=r"other methods of its own \(digest ee\) than this driver \(none\)",
    ):
        must_match("10.0.0.2", {**ours, "methods": "ee"})


def test_other_libraries_are_told_once_for_all_nodes_alike(ours: dict[str, str]) -> None:
    other = {**ours, "torch": "2.7", "python": "3.12.1"}
    found = notes(
        [
            ("a", other),
            ("b", dict(ours)),
            ("c", {**ours, "torch": "2.7"}),
            ("d", other),
            ("e", other),
        ]
    )
    assert found == [
        "the node a and 2 others has python 3.12.1, torch 2.7, this driver python 3.11.7, torch "
        "2.9: "
        "the same trial may give other numbers there",
        "the node c has torch 2.7, this driver torch 2.9: the same trial may give other numbers "
        "there",
    ]


def test_a_person_reads_a_note_once(capsys: pytest.CaptureFixture[str]) -> None:
    trial, progress = (
        tiny_sweep.first(tiny_sweep.sweep(), "training"),
        Progress(notes=["the node a has torch 2.7"]),
    )
    with ConsoleProgress(
        "x", "min_asr_within_delta", console=Plain(stderr=True, force_terminal=False)
    ) as report:
        for _ in range(3):
            report("start", trial, progress, None)
    assert capsys.readouterr().err.splitlines().count("the node a has torch 2.7") == 1


def test_the_digest_is_of_all_code_and_of_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "inner" / "a.py").write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(versions, "PACKAGES", ("some_package",))
    first = versions._digest()
    assert "some_package" in sys.modules
    (package / "data.csv").touch()
    assert versions._digest() == first
    (package / "inner" / "a.py").write_text("x = 2")
    assert versions._digest() != first
