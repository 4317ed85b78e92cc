"""The trigger that was reconstructed from the given model itself: when what is left of it counts.

Source: Wang et al. 2019, 'Neural Cleanse', IEEE S&P: the class of an unusually small mask.
Deviation: unusually small is at most half of the classes' median. Of five victims with a patch the
target's mask was 0.27 to 0.44 of it, every other class's above 0.7. Of a smooth picture or warp the
next class's odds are at most three tenths of its own (docs/answer.md).
"""

from collections.abc import Sequence
from itertools import chain

from results.selection.forecast import INVERSION
from trials import catalog
from trials.spec import Point, Record, SpecError
from trials.suspicious import SUSPICIOUS, WORKS

RECONSTRUCTED = "asr_reconstructed"  # in a point's ``extra``
# what unlearns marks that it finds by descent on the model: such a trigger shows nothing of it
UNLEARNING = ("i_bau", "sau")
FORMS = {"mask_share": "mask", "odds_share": "smooth"}  # of the trigger, by the metric of its share


def family(defense: str) -> str:
    """What the defense does; empty where it is no method that is known here."""
    try:
        return catalog.describe("defenses", defense).family
    except SpecError:
        return ""


def unlearns(defense: str) -> bool:
    """Whether the defense unlearns marks that it finds by descent on the model."""
    return family(defense) == INVERSION or defense in UNLEARNING


def counts(records: Sequence[Record]) -> bool:
    """Whether what is left of the reconstructed trigger says how good these repairs are: its class
    is suspect, it worked before, and the defense does not unlearn inverted triggers.
    """
    return bool(records) and all(map(_counts, records))


def form(records: Sequence[Record]) -> str:
    """What that trigger is, ``mask``, or ``smooth`` for a faint picture or a warp; empty where none
    counts, or the records' triggers differ.
    """
    found = set(chain.from_iterable(r.metrics for r in records)) & FORMS.keys()
    return FORMS[found.pop()] if counts(records) and len(found) == 1 else ""


def _counts(record: Record) -> bool:
    method = record.trial.method
    if method is None or not record.curve or unlearns(method.name):
        return False
    start = min(record.curve, key=lambda p: p.step)
    suspicious = any(record.metrics.get(k, 1.0) <= most for k, most in SUSPICIOUS.items())
    return suspicious and left_of(start, default=0.0) >= WORKS


def left_of(point: Point, default: float) -> float:
    """ASR of the reconstructed trigger at the point, a fraction."""
    return point.extra.get(RECONSTRUCTED, default)
