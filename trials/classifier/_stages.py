"""Where in a model its features are looked at: its stages."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from trials.classifier._trace import IMAGES, Call, Shape, Trace, tensor_in

FEWEST = 2  # stages; one stage is the whole model
_MOST = 4
_BESIDE = 8  # most tokens that stand for no place: the class token, registers
Layout = Literal["channels first", "channels last", "tokens"]


@dataclass(frozen=True, slots=True)
class StagePath:
    """Where the features of a stage lie.

    Attributes:
        name: the module's path.
        layout: of its output: (n, c, h, w), (n, h, w, c), or (n, tokens, c).
        beside: tokens that come before those of the image's places.
    """

    name: str
    layout: Layout = "channels first"
    beside: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """A module of the model whose output are features by place.

    Attributes:
        module: the model's own.
        path: where its features lie.
    """

    module: nn.Module
    path: StagePath

    def maps(self, output: object) -> Tensor:
        """The module's output as (n, c, h, w); tokens whose number is no square as (n, c, places).

        Raises:
            TypeError: it holds no tensor.
        """
        features = tensor_in(output)
        if features is None:
            raise TypeError(f"{self.path.name} gave no tensor")
        if self.path.layout == "channels first":
            return features
        if self.path.layout == "channels last":
            return features.permute(0, 3, 1, 2)
        tokens = features[:, self.path.beside :].transpose(1, 2)
        side = math.isqrt(tokens.shape[2])
        square = side**2 == tokens.shape[2]
        return tokens.reshape(*tokens.shape[:2], side, side) if square else tokens


def numbered(model: nn.Module) -> dict[str, nn.Module]:
    """The modules layer1, layer2 and so on of the first module that has two of them or more, by
    their paths; else {}.
    """
    for name, module in model.named_modules():
        children = dict(module.named_children())
        names = (f"layer{i}" for i in itertools.count(1))
        found = list(itertools.takewhile(children.__contains__, names))
        if len(found) >= FEWEST:
            return {f"{name}.{key}" if name else key: children[key] for key in found}
    return {}


def stages_of(trace: Trace) -> tuple[StagePath, ...]:
    """Where the features are looked at: layer1, layer2 and so on, where a model has these; the
    modules after which the number of places last falls; or the blocks at a quarter, a half, three
    quarters and all of the depth, where it does not fall. () if that gives fewer than two.
    """
    layouts = layouts_of(trace)
    maps, names = list(layouts), list(numbered(trace.probe))
    if names and {c.name for c in maps}.issuperset(names):
        chosen = [c for c in maps if c.name in names]
    else:
        layers = itertools.dropwhile(lambda c: c.output is None, trace.calls)
        learned = set(layers)
        chosen = _chosen([c for c in maps if c in learned], layouts)
    if len(chosen) < FEWEST:
        return ()
    patches = next((c for c in reversed(maps) if len(c.shape) == 4), None)
    grid = _places(patches.shape, layouts[patches]) if patches else 0
    return tuple(StagePath(c.name, layouts[c], _beside(c.shape, grid)) for c in chosen)


def layouts_of(trace: Trace) -> dict[Call, Layout]:
    """The calls of the trunk that give features by place, in order, and where these lie: on those
    axes whose sides are as the image's are, or as most others have them where that does not tell.
    """
    maps = [c for c in trace.trunk if c.shape[:1] == (IMAGES,) and len(c.shape) in (3, 4)]
    told = {c: _layout(c.shape, trace.x.shape[2:]) for c in maps}
    counts = Counter(layout for layout in told.values() if layout)
    last = counts["channels last"] > counts["channels first"]
    usual: Layout = "channels last" if last else "channels first"
    return {c: layout or usual for c, layout in told.items()}


def _layout(shape: Shape, image: Sequence[int]) -> Layout | None:
    if len(shape) == 3:
        return "tokens"
    first = abs(shape[2] / image[0] - shape[3] / image[1])
    last = abs(shape[1] / image[0] - shape[2] / image[1])
    if first == last:
        return None
    return "channels first" if first < last else "channels last"


def _chosen(maps: Sequence[Call], layouts: Mapping[Call, Layout]) -> list[Call]:
    places = {c: _places(c.shape, layouts[c]) for c in maps}
    blocks = _blocks([c for c in maps if len(c.shape) == 3], places)
    falls = _by_size(maps, places, _falling(maps, layouts))
    return blocks or (falls if len(falls) >= FEWEST else _blocks(maps, places))


def _places(shape: Shape, layout: Layout) -> int:
    if layout == "tokens":
        return shape[1]
    return math.prod(shape[2:] if layout == "channels first" else shape[1:3])


def _by_size(
    maps: Iterable[Call], places: Mapping[Call, int], falling: Mapping[str, int]
) -> list[Call]:
    """The last call of each number of places, while that number falls; the last few.

    What is inside a block in which it falls, and comes before it does, is taken only where nothing
    comes before the block.
    """
    last: list[Call] = []
    for call in maps:
        now, then = places[call], places[last[-1]] if last else math.inf
        if now > 4 / 3 * then or now == 1:
            break
        if now > 3 / 4 * then:
            parents = itertools.accumulate(call.name.split(".")[:-1], "{}.{}".format)
            outer = [p for p in parents if falling.get(p, now) < 3 / 4 * now]
            if any(not last[-1].name.startswith(f"{p}.") for p in outer):
                continue
            last.pop()
        last.append(call)
    return last[-_MOST:]


def _falling(maps: Iterable[Call], layouts: Mapping[Call, Layout]) -> dict[str, int]:
    """The blocks in which the number of places falls once, and their places in the end."""
    found = {}
    for call in (c for c in maps if len(c.inputs) == len(c.shape)):
        given, made = _places(call.inputs, layouts[call]), _places(call.shape, layouts[call])
        if given / 8 <= made < 3 / 4 * given:
            found[call.name] = made
    return found


def _blocks(maps: Iterable[Call], places: Mapping[Call, int]) -> list[Call]:
    """Of the longest row of like siblings those at 1/4, 1/2, 3/4 and 1 of its length; [] where
    some rows have fewer places than others.
    """
    rows: dict[tuple[str, type], list[Call]] = {}
    for call in maps:
        rows.setdefault((call.name.rpartition(".")[0], type(call.module)), []).append(call)
    rows = {key: row for key, row in rows.items() if len(row) >= FEWEST}
    sizes = {places[call] for call in itertools.chain(*rows.values())}
    if not sizes or min(sizes) < 3 / 4 * max(sizes):
        return []
    row = max(rows.values(), key=len)
    at = {math.ceil(len(row) * part / _MOST) - 1 for part in range(1, _MOST + 1)}
    return [row[i] for i in sorted(at)]


def _beside(shape: Shape, grid: int) -> int:
    """How many tokens there are beside those of the grid; of a grid that is not known, a square
    is the guess.
    """
    if len(shape) == 4:
        return 0
    if 0 <= shape[1] - grid <= _BESIDE:
        return shape[1] - grid
    squares = (b for b in range(_BESIDE + 1) if math.isqrt(shape[1] - b) ** 2 == shape[1] - b)
    return next(squares, 0)
