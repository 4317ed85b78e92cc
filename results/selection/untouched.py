"""What is said where nothing beats leaving the model as it is: how it stands, and no change, as
there was none.
"""

from collections.abc import Sequence

from results.selection.confirmation import HeldOutResult, pooled
from results.selection.labels import attack, percent, percents
from results.selection.winners import Winner
from results.stats.intervals import Interval

Seen = Winner | HeldOutResult


def expect(seen: Seen) -> str:
    """A sentence with the ASR and CDA on the copies."""
    return (
        f"On copies of the model that carry a planted backdoor, the attack success rate stays at "
        f"{percent(seen.eta)} %"
        f"{within(seen)}, at a clean accuracy of {percent(seen.cda)} %."
    )


def reals(real: Sequence[HeldOutResult], many: int) -> list[str]:
    """A sentence for each real attack, or one for the mean of more than ``many``."""
    if len(real) > many:
        every = pooled(real)
        return [
            f"On {len(real)} really attacked models, the attack success rate is "
            f"{percent(every.eta)} %{within(every)} "
            f"on the mean, at a clean accuracy of {percent(every.cda)} %."
        ]
    return [
        f"The real attack, {attack(j.victim)}, has a success rate of {percent(j.eta)} "
        f"%{within(j)} at a clean accuracy "
        f"of {percent(j.cda)} %."
        for j in real
    ]


def within(seen: Seen) -> str:
    """The interval of the ASR in brackets, to follow the number; empty where it is not known."""
    return f" (95 % interval {percents(seen.interval)} %)" if seen.interval else ""


def sure(interval: Interval | None, images: int | None, kind: str) -> str:
    """The interval of a rate, and how many images of a kind it was counted on."""
    counted = f"{images} {kind} images" if images else "number of images not recorded"
    return f"95 % interval {percents(interval)} %; {counted}" if interval else counted
