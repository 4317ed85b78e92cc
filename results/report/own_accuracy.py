"""What a repair did to the given model's own clean accuracy, and how that is said."""

from dataclasses import dataclass

from results.selection.labels import percent
from results.stats.intervals import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The given model's own clean accuracy on its report images, which chose nothing, and on their
    mirror images where these count.
    """

    before: float
    after: float
    n: int
    cost_interval: Interval  # 95 %, of ``cost``
    mirrored: bool = False

    @property
    def cost(self) -> float:
        return self.before - self.after


def cost_of(own: Own) -> str:
    """What it costs, and how sure that is."""
    low, high = own.cost_interval
    if own.cost < 0:
        return (
            f"{percent(-own.cost)} points gained, 95 % interval {percent(-high)} to {percent(-low)}"
        )
    return f"{percent(own.cost)} points lost, 95 % interval {percent(low)} to {percent(high)}"


def images_of(own: Own) -> str:
    images = f"{own.n} report image{'s' * (own.n != 1)}"
    return f"{images} and their mirror images" if own.mirrored else images
