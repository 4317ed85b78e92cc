"""Short names for methods that were run with one set of settings, longer ones for those with
several.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from results.selection.labels import value
from trials.spec import MethodConfig, Trial, content_id


class HasTask(Protocol):
    """What was held against every attack alike bears one id."""

    @property
    def panel(self) -> str: ...


T = TypeVar("T", bound=HasTask)


def labels(
    rows: Sequence[T], configs: Callable[[T], tuple[MethodConfig | None, ...]]
) -> dict[str, list[T]]:
    """Rows by panel, under a name that tells the panels apart: 'nad', or 'nad (lr = 0.1)' beside
    'nad (lr = 0.01)'.

    Args:
        rows: of one benchmark and r.
        configs: a row's method, then the one whose outcome it was given, if any.
    """
    panels: dict[str, list[T]] = defaultdict(list)
    for row in rows:
        panels[row.panel].append(row)
    alike: dict[str, list[str]] = defaultdict(list)
    for panel, group in panels.items():
        alike[first.name if (first := configs(group[0])[0]) else "none"].append(panel)
    found: dict[str, list[T]] = {}
    for name, several in sorted(alike.items()):
        given = {p: configs(panels[p][0]) for p in several}
        for panel in several:
            said = _varied(given[panel], list(given.values()))
            label = name if len(several) == 1 else f"{name} ({said})" if said else name
            found[f"{label} [{panel[:6]}]" if label in found else label] = panels[panel]
    return found


def panels(
    trials: Iterable[Trial], coarse: Callable[[Trial], object], fine: Callable[[Trial], object]
) -> dict[str, str]:
    """By trial's id, the id of what was held against its victim: ``coarse`` where that is clear,
    else ``fine``.

    It is unclear where a victim met several fine ones of one coarse: then nobody can say which of
    them counts.
    """
    ids = {
        t.id: (content_id(coarse(t)), content_id([coarse(t), fine(t)]), t.victim.id) for t in trials
    }
    met: dict[tuple[str, str], set[str]] = defaultdict(set)
    for wide, narrow, victim in ids.values():
        met[wide, victim].add(narrow)
    unclear = {wide for (wide, _), several in met.items() if len(several) > 1}
    return {i: narrow if wide in unclear else wide for i, (wide, narrow, _) in ids.items()}


def _varied(
    own: tuple[MethodConfig | None, ...], group: list[tuple[MethodConfig | None, ...]]
) -> str:
    said = []
    for i, c in enumerate(own):
        others = [o[i] for o in group]
        if i and len({o.name if o else "" for o in others}) > 1:
            said.append(f"after {c.name}" if c else "on its own")
        for k, v in (c.params if c else {}).items():
            if any(
                o is not None and o.name == c.name and o.params.get(k) != v for o in others if c
            ):
                said.append(f"{k} = {value(v)}")
    return ", ".join(said)
