"""From a space to a list of configurations before anything runs: grid, one_at_a_time, thinned."""

import random
from collections.abc import Callable, Mapping, Sequence

from search_spaces._ask import Chooser
from trials.spec import MethodConfig, Scalar, canonical

Space = Callable[[Chooser, str], MethodConfig]


class _Path:
    """A chooser that takes the ``turns``-th value where one is given, the default elsewhere, and
    keeps a log.
    """

    def __init__(self, turns: Mapping[str, int]) -> None:
        self.turns = turns
        self.asked: dict[str, int] = {}  # name -> number of values, in the order of asking

    def choose(self, name: str, choices: Sequence[Scalar], /) -> Scalar:
        if name in self.asked:
            raise ValueError(
                f"the space asks for {name!r} twice in one configuration: give the second another "
                "name"
            )
        self.asked[name] = len(choices)
        return choices[self.turns.get(name, 0)]


def grid(space: Space, profile: str) -> list[MethodConfig]:
    """Every point once, the default first; a branch's settings vary only inside that branch."""
    points: list[MethodConfig] = []
    turns: dict[str, int] | None = {}
    while turns is not None:
        path = _Path(turns)
        points.append(space(path, profile))
        turns = _following(turns, path.asked)
    return _once(points)


def one_at_a_time(space: Space, profile: str) -> list[MethodConfig]:
    """The default, then each of its settings changed alone: one factor at a time."""
    path = _Path({})
    points = [space(path, profile)]
    for name, number in path.asked.items():
        points += [space(_Path({name: turn}), profile) for turn in range(1, number)]
    return _once(points)


def thin(points: Sequence[MethodConfig], limit: int, seed: int) -> list[MethodConfig]:
    """At most ``limit`` points, the first one first, then those that balance each setting's values
    and lie apart.

    Greedy: the next point is one whose values occur least so far; among these, one farthest from
    the nearest point taken (settings' ranks scaled to [0, 1], summed); among these, ``seed``
    decides.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    places = _places(points)
    rest = list(range(1, len(points)))
    random.Random(seed).shuffle(rest)
    taken = [0] if points else []
    nearest = {i: _apart(places[i], places[0]) for i in rest}
    while rest and len(taken) < limit:
        used = list(zip(*(places[t] for t in taken), strict=True))  # of each setting
        best = min(
            rest,
            key=lambda i: (
                sum(u.count(v) for u, v in zip(used, places[i], strict=True)),
                -nearest[i],
            ),
        )
        rest.remove(best)
        taken.append(best)
        nearest = {i: min(nearest[i], _apart(places[i], places[best])) for i in rest}
    return [points[i] for i in taken]


def _following(turns: Mapping[str, int], asked: Mapping[str, int]) -> dict[str, int] | None:
    """The next path, the last value first; None after the last path."""
    names = list(asked)
    for depth in reversed(range(len(names))):
        turn = turns.get(names[depth], 0) + 1
        if turn < asked[names[depth]]:
            return {**{n: turns.get(n, 0) for n in names[:depth]}, names[depth]: turn}
    return None


def _once(points: Sequence[MethodConfig]) -> list[MethodConfig]:
    return list({canonical(p.identity()): p for p in reversed(points)}.values())[::-1]


def _places(points: Sequence[MethodConfig]) -> list[tuple[float, ...]]:
    """Each point's value of each setting as a rank in [0, 1]; a setting that a point lacks lies at
    -1.
    """
    names = sorted(set().union(*(p.params for p in points)))
    ranks: list[dict[Scalar, float]] = []
    for name in names:
        levels = sorted(
            {p.params[name] for p in points if name in p.params},
            key=lambda v: (isinstance(v, str), v),
        )
        ranks.append({v: i / max(1, len(levels) - 1) for i, v in enumerate(levels)})
    places = []
    for point in points:
        params = point.params
        both = zip(names, ranks, strict=True)
        places.append(tuple(rank[params[n]] if n in params else -1.0 for n, rank in both))
    return places


def _apart(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))
