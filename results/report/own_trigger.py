"""What is said of the trigger that was reconstructed from the given model."""

from results.selection.confirmation import HeldOutResult
from results.selection.labels import percent
from results.selection.trigger_kinds import worst
from results.selection.winners import REPAIRED, Winner


def removed(seen: Winner | HeldOutResult) -> bool:
    """Whether the trigger that was reconstructed from the given model is removed."""
    return seen.reconstructed is not None and seen.reconstructed <= REPAIRED


def left(seen: Winner | HeldOutResult) -> bool:
    """Whether that trigger still works on the given model."""
    return seen.reconstructed is not None and seen.reconstructed > REPAIRED


def less(seen: Winner | HeldOutResult) -> bool:
    """Whether any of it is gone."""
    return (seen.reconstructed or 0.0) < (seen.reconstructed0 or 0.0)


def leaves(seen: Winner | HeldOutResult) -> str:
    """The trigger of which most is left, and its ASR."""
    own = seen.reconstructed or 0.0
    if left(seen) and own > worst(seen):
        return f"an ASR of {percent(own)} % to the trigger that was reconstructed from this model"
    return f"an ASR of {percent(worst(seen))} % on planted backdoors"


def alone(seen: Winner | HeldOutResult) -> str:
    """What is removed and what is not."""
    return (
        "removes the trigger that was reconstructed from this model, from "
        f"{percent(seen.reconstructed0 or 0.0)} to {percent(seen.reconstructed or 0.0)} %, but "
        f"leaves an ASR of {percent(worst(seen))} % on planted backdoors"
    )
