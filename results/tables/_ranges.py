"""Columns of the tables that pool an attack's victims, and numbers with what they may be off by."""

from collections.abc import Mapping
from math import sqrt
from typing import Any

from results.selection.grouping import budget
from results.selection.labels import percents
from results.stats.intervals import Interval, bootstrap
from results.tables._columns import points
from trials.spec import Victim

ATTACK_COLUMNS = ("dataset", "model", "attack", "m")


def of_attack(victim: Victim, name: str) -> dict[str, Any]:
    """Dataset, model, the attack's name for these tables, and m."""
    return {
        "dataset": victim.dataset.name,
        "model": victim.model.name,
        "attack": name,
        "m": budget(victim),
    }


def share(value: float | None) -> float | None:
    """A fraction or an area, rounded to four digits, so that tables can be compared."""
    return None if value is None else round(value, 4) + 0.0


def span(interval: Interval | None, digits: int = 2) -> str | None:
    """An interval as '0.56 – 0.72', with an en dash and a true minus."""
    if interval is None:
        return None
    return f"{interval.low:.{digits}f} – {interval.high:.{digits}f}".replace("-", "\u2212")


def mean(values: Mapping[str, float]) -> float | None:
    return sum(values.values()) / len(values) if values else None


def over_victims(values: Mapping[str, float]) -> Interval | None:
    """95 % interval of the mean over victims; None for a single one."""
    return bootstrap([values[k] for k in sorted(values)]) if len(values) > 1 else None


def less(
    ours: float | None, known: float | None, mine: Interval | None, theirs: Interval | None
) -> Interval | None:
    """Interval of ``ours - known``, each with its own interval; a number without one counts as
    exact.

    Source: Zou and Donner 2008, Statistics in Medicine 27 (intervals recovered from two estimates).
    """
    if ours is None or known is None or mine is None:
        return None
    theirs = theirs or Interval(known, known)
    low = sqrt((ours - mine.low) ** 2 + (theirs.high - known) ** 2)
    high = sqrt((mine.high - ours) ** 2 + (known - theirs.low) ** 2)
    return Interval(ours - known - low, ours - known + high)


def beside(
    what: str, ours: float | None, mine: Interval | None, known: float | None
) -> dict[str, Any]:
    """Columns of a rate beside the paper's, which counts as exact: it is a single run's, without a
    spread.
    """
    return {
        f"{what} (%)": points(ours),
        f"{what} 95 % interval (%)": percents(mine),
        f"paper's {what} (%)": points(known),
        f"{what} difference (pp)": None if ours is None or known is None else points(ours - known),
        f"{what} difference 95 % interval (pp)": signed(less(ours, known, mine, None)),
    }


def columns(what: str) -> tuple[str, ...]:
    """The names of the columns that ``beside`` fills."""
    return tuple(beside(what, None, None, None))


def signed(interval: Interval | None) -> str | None:
    """As ``percents``, with a true minus, as differences need it."""
    said = percents(interval)
    return said.replace("-", "\u2212") if said else None
