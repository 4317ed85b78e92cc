"""A store's password: off the command line, which others can read and Ray keeps, and out of Ray's
processes.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from results.store.url import parse
from trials.spec import SpecError

STORE = "POISONSWEEP_STORE"
_OPTION = "--store"


def moved(words: Sequence[str]) -> tuple[list[str], str]:
    """A command line without the option that names a store with a password, and that store's
    address, or "".
    """
    kept, address = list(words), ""
    for i, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option == _OPTION:
            value, size = (value, 1) if equals else ("".join(words[i + 1 : i + 2]), 2)
            if _secret(value):
                kept, address = [*words[:i], *words[i + size :]], value
    return kept, address


def off_the_command_line() -> None:
    """Put the address of a store with a password into the environment, and start this program again
    without it.
    """
    kept, address = moved(sys.orig_argv[1:])
    if address:
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *kept], {**os.environ, STORE: address})


@contextlib.contextmanager
def kept_from_children() -> Iterator[None]:
    """Processes that are started in the block do not inherit this one's passwords."""
    held = {name: os.environ.pop(name) for name in (STORE, "PGPASSWORD") if name in os.environ}
    try:
        yield
    finally:
        os.environ |= held


def _secret(address: str) -> bool:
    try:
        url = parse(address)
    except SpecError:
        return False
    return bool(url.password or any("password" in key for key in url.query))
