"""Sentences that name options of the command line, as who calls from Python reads them."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace

from results.selection.understood import Understood
from trials.spec import SpecError

_OPTIONS = (
    "model|images|epochs|arch|trusted|out|norm|mean|std|size|spec|seed|device|order|classes|minutes"
)
_NAMED = re.compile(rf"(?<![^\s(])--({_OPTIONS})(?![\w-])")
_SWITCHES = {
    "--no-flip": "flip=False",
    "--retry-failed": "retry_failed=True",
    "--no-train": "retrain=False",
    "--repair": "repair=True",
}


def in_python(sentence: str) -> str:
    """The sentence with the names of arguments in place of options."""
    for option, argument in _SWITCHES.items():
        sentence = sentence.replace(option, argument)
    return _NAMED.sub(r"\1", sentence)


def understood_in_python(found: Understood) -> Understood:
    """The same of what was made of a model and its images."""
    warnings, prepared = (tuple(map(in_python, s)) for s in (found.warnings, found.prepared))
    return replace(found, warnings=warnings, prepared=prepared, order=in_python(found.order))


@contextlib.contextmanager
def errors_in_python() -> Iterator[None]:
    """Within the block errors name arguments."""
    try:
        yield
    except SpecError as problem:
        raise SpecError(in_python(str(problem))) from problem
