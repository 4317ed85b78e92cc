"""Who could change a file: rights of the folder, of all in it, and of the way there."""

import os
from pathlib import Path

import pytest

from trials.guarded import open_to_others

root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give a file away"
)
SOMEBODY = 54321


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file in it, some way down."""
    inside = tmp_path / "way" / "own" / "defenses"
    inside.mkdir(parents=True)
    (inside / "mine.py").touch(0o644)
    for path in (inside, *inside.parents[:2]):
        path.chmod(0o755)
    return tmp_path / "way" / "own"


def test_a_folder_of_ones_own_is_closed(folder: Path) -> None:
    assert open_to_others(folder) == ""


def test_a_folder_above_may_be_shared_only_where_it_keeps_others_off(folder: Path) -> None:
    folder.parent.chmod(0o777)
    assert str(folder.parent) in open_to_others(folder)
    folder.parent.chmod(0o1777)
    assert open_to_others(folder) == ""


def test_a_link_is_as_open_as_the_way_to_what_it_leads_to(folder: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    wide.mkdir()
    (wide / "helper.py").touch(0o644)
    (folder / "defenses" / "helper.py").symlink_to(Path("..", "..", "..", "wide", "helper.py"))
    assert open_to_others(folder) == ""
    wide.chmod(0o777)
    assert "wide" in open_to_others(folder)
    wide.chmod(0o755)
    (wide / "helper.py").chmod(0o666)
    assert "helper.py" in open_to_others(folder)


def test_a_folder_itself_may_not_be_shared_even_behind_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert open_to_others(tmp_path / "link") == ""
    folder.chmod(0o1777)
    assert "mode 1777" in open_to_others(tmp_path / "link")


def test_a_link_on_the_way_counts_where_it_lies_and_where_it_leads(
    folder: Path, tmp_path: Path
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "link").symlink_to(folder.parent)
    assert open_to_others(shelf / "link" / "own") == ""
    shelf.chmod(0o777)
    assert str(shelf) in open_to_others(shelf / "link" / "own")
    shelf.chmod(0o755)
    folder.parent.chmod(0o777)
    assert str(folder.parent) in open_to_others(shelf / "link" / "own")


def test_a_folder_that_is_linked_into_it_is_looked_through(folder: Path, tmp_path: Path) -> None:
    helpers = tmp_path / "helpers"
    helpers.mkdir()
    (helpers / "a.py").touch(0o644)
    (helpers / "again").symlink_to(helpers)
    (folder / "defenses" / "helpers").symlink_to(helpers)
    assert open_to_others(folder) == ""
    (helpers / "a.py").chmod(0o666)
    assert "a.py" in open_to_others(folder)


@root
@pytest.mark.parametrize("path", ["", "defenses", "defenses/mine.py", ".."])
def test_what_belongs_to_somebody_else_is_open(folder: Path, path: str) -> None:
    os.chown(folder / path, SOMEBODY, -1)
    assert f"belongs to another user ({SOMEBODY})" in open_to_others(folder)


@root
def test_a_group_of_ones_own_may_write_and_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grp, pwd = pytest.importorskip("grp"), pytest.importorskip("pwd")  # which Windows has not
    os.chown(folder, 0, SOMEBODY)
    folder.chmod(0o775)
    assert "mode 0775" in open_to_others(folder)
    ann = pwd.struct_passwd(("ann", "x", 0, SOMEBODY, "", "", ""))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: ann)
    members = ["ann"]
    monkeypatch.setattr(
        grp, "getgrgid", lambda _: grp.struct_group(("ann", "x", SOMEBODY, members))
    )
    assert open_to_others(folder) == ""
    members.append("bob")
    assert "mode 0775" in open_to_others(folder)
