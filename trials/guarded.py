"""Which files another user could change: code is run only from where nobody else can put it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

try:
    import grp
    import pwd
except ImportError:  # Windows: rights are not in a file's mode there, and nothing is refused
    grp = pwd = None  # type: ignore[assignment]


def open_to_others(folder: Path) -> str:
    """Why another user could change what is in ``folder``, in words for a person; "" where none
    could.

    Looked at are the folder, all in it, and every folder and link on the way there. Root counts as
    oneself, and so does a group that has this user's name and nobody else in it.
    """
    if pwd is None:
        return ""
    for place in _contents(folder):
        if place.is_symlink() or place == folder:
            for step in _way_to(place):
                if why := _changeable(step, shared=True):
                    return why
        if why := _changeable(place.resolve(), shared=False):
            return why
    return ""


def _contents(folder: Path) -> Iterator[Path]:
    """The folder and all below it, also behind links; each folder's entries once."""
    todo, seen = [folder], set[Path]()
    while todo:
        place = todo.pop()
        if place.exists():
            yield place
        if place.is_dir() and (real := place.resolve()) not in seen:
            seen.add(real)
            todo += place.iterdir()


def _way_to(place: Path) -> set[Path]:
    """The place, the folders above it, and the same of all that links among them lead to."""
    todo, seen = [place], set[Path]()
    while todo:
        for step in (here := todo.pop(), *here.parents):
            if step not in seen and step.is_symlink() and step.exists():
                todo.append(step.parent / step.readlink())
            seen.add(step)
    return seen


def _changeable(place: Path, *, shared: bool) -> str:
    """Why others could change a place; a ``shared`` folder may take their files if it keeps them
    off ours (sticky).
    """
    try:
        facts = place.lstat()
    except FileNotFoundError:  # it was deleted after it was listed
        return ""
    if facts.st_uid not in {0, os.geteuid()}:
        owner = _name(facts.st_uid)
        return f"{str(place)!r} belongs to another user ({owner}). Copy it to a folder of your own."
    if stat.S_ISLNK(facts.st_mode) or (shared and facts.st_mode & stat.S_ISVTX):
        return ""
    by_group = facts.st_mode & stat.S_IWGRP and not _mine_alone(facts.st_gid)
    if by_group or facts.st_mode & stat.S_IWOTH:
        mode = stat.S_IMODE(facts.st_mode)
        return (
            f"others may write {str(place)!r} (mode {mode:04o}). Take that right away: "
            f"chmod go-w {str(place)!r}"
        )
    return ""


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _mine_alone(group: int) -> bool:
    """True for the group that many systems make for each user, under the user's name, with nobody
    else in it.
    """
    try:
        me, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    own = group == me.pw_gid and found.gr_name == me.pw_name
    return group != 0 and own and set(found.gr_mem) <= {me.pw_name}
