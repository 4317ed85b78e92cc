"""Values that no spec expects, and a table changed at one place."""

from collections.abc import Callable
from typing import Any

from fences import escapes
from hypothesis import strategies as st

NAMES = (
    "os",
    "__init__",
    "../x",
    "_private",
    "a.b",
    "_patch",
    "../../sweep/cli",
    "/etc/passwd",
    "badnets.py",
    "",
    "\0",
)
NASTY = (
    "..",
    "~nobody-of-that-name/x",
    "$NO_SUCH_THING",
    "a\0b",
    "\x1b[2J",
    "é" * 40,
    "x" * 5000,
    "\u202e",
    "</script>",
    "\n",
)
ODD = st.one_of(
    st.sampled_from([*NAMES, *NASTY, *escapes()]),
    st.text(max_size=30),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 10**400]),
    st.floats(),
    st.booleans(),
)
ANY = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a table."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(p for k, v in inner for p in places(v, (*path, k)))]


def changed(value: Any, path: tuple[Any, ...], new: Callable[[Any], Any]) -> Any:
    if not path:
        return new(value)
    if isinstance(value, dict):
        return {k: changed(v, path[1:], new) if k == path[0] else v for k, v in value.items()}
    return [changed(v, path[1:], new) if i == path[0] else v for i, v in enumerate(value)]
