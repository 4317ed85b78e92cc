"""The one registry: a method's name is its file's name, its settings are its keyword-only
arguments.

Reads files with ``ast`` instead of importing it, so listing, planning and checking a sweep
costs no torch import and runs no method's code. ``find`` imports the one module that a trial names.

``method_kinds`` names the kinds, ``method_files`` finds the files, ``signatures`` reads what a
file declares (``COMPARES``, ``NEEDS``, ``FAMILY`` and others, and its settings), ``methods`` looks
one up, and ``resolving`` checks a choice against it.
"""

from trials.catalog.method_files import OWN, own_code
from trials.catalog.method_kinds import FAMILIES, KINDS, NEEDS, unknown
from trials.catalog.methods import describe, find, find_check, names
from trials.catalog.resolving import resolve, resolve_trial, resolve_victim
from trials.catalog.signatures import Method, Setting

__all__ = [
    "FAMILIES",
    "KINDS",
    "NEEDS",
    "OWN",
    "Method",
    "Setting",
    "describe",
    "find",
    "find_check",
    "names",
    "own_code",
    "resolve",
    "resolve_trial",
    "resolve_victim",
    "unknown",
]
