"""Own networks: a network of your own, made by a callable of a module that every worker can import.

Source: none; the code is the user's own, and no file that a stranger made can name it.
Deviation: normalisation is a hook before the network.
"""

import ast
import importlib
import inspect
from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from trials import catalog
from trials.models._any_network import (
    adapted,
    check,
    constants_of,
    is_adapted,
    one_line,
    unknown,
)
from trials.normalisation import asked_for
from trials.spec import SpecError

_CLASSES = ("num_classes", "classes", "n_classes", "num_labels")  # parameters, the first that is


def build(
    classes: int,
    size: int,
    /,
    *,
    callable: str = "",
    arguments: str = "",
    norm: Literal["own", "cifar10", "imagenet", "half", "none"] = "own",
    mean: str = "",
    std: str = "",
) -> nn.Module:
    """What the callable makes, with weights drawn from torch's global generator.

    Args:
        classes: number of classes, handed over as num_classes or classes where the callable has
            such a parameter.
        size: side of the images in pixels.
        callable: the function or class, as package.module:name; its package must be importable in
            every worker (installed, or in a folder of PYTHONPATH).
        arguments: other arguments by name, as width=16,act=relu.
        norm: constants of the normalisation; own is those of the network's pretrained_cfg where it
            has one, else ImageNet's; half maps [0, 1] to [-1, 1], none leaves it.
        mean: in place of norm, with std: three numbers, or one for all channels, as
            0.485 0.456 0.406.
        std: in place of norm, with mean.

    Raises:
        SpecError: it cannot be imported or called, gives no new network each time, or the network
            does not take images of that size.
    """
    _called(callable, arguments, classes)  # what it lacks is found before the network is tried
    check(f"own: {callable}", _network, (callable, arguments, classes), classes, size)
    network = _network(callable, arguments, classes)
    constants = asked_for(norm, mean, std)
    if constants == "own":
        constants = constants_of(getattr(network, "pretrained_cfg", None))
    return adapted(network, constants)


def _network(place: str, arguments: str, classes: int) -> nn.Module:
    function, given = _called(place, arguments, classes)
    try:
        network = function(**given)
    except Exception as problem:
        said = ", ".join(f"{key}={value!r}" for key, value in given.items())
        raise SpecError(f"own: {place}({said}) failed ({one_line(problem)}).") from problem
    if not isinstance(network, nn.Module):
        raise SpecError(f"own: {place} makes a {type(network).__name__}, needed is an nn.Module.")
    if is_adapted(network):
        raise SpecError(
            f"own: {place} gives the same network again; it must make a new one each time."
        )
    return network


def _called(place: str, arguments: str, classes: int) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The callable, and what it is called with."""
    function = _imported(place)
    given = _arguments(place, arguments)
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # built in: it says nothing of itself
        return function, {_CLASSES[0]: classes, **given}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in given:
        if key not in parameters and not takes_any:
            raise SpecError(catalog.unknown(f"argument of {place}", key, list(parameters)))
    default = _CLASSES[0] if takes_any else None
    name = next((name for name in _CLASSES if name in parameters), default)
    return function, ({name: classes, **given} if name else given)


def _imported(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise SpecError(f"own: callable is {place!r}, needed is package.module:name.")
    try:
        found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as problem:
        raise SpecError(
            f"own: cannot import {module!r} ({one_line(problem)}). Every worker imports it: "
            "install it, or put its folder into PYTHONPATH."
        ) from problem
    for part in name.split("."):
        if not hasattr(found, part):
            public = [key for key in vars(found) if not key.startswith("_")]
            raise SpecError(unknown(f"name in {module}", part, public, f"dir({module})"))
        found = getattr(found, part)
    if not callable(found):
        raise SpecError(f"own: {place} is a {type(found).__name__}, needed is a function or class.")
    return found  # type: ignore[no-any-return]


def _arguments(place: str, text: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise SpecError(f"own: an argument of {place} is {part!r}, needed is name=value.")
        given[key] = _value(value)
    return given


def _value(text: str) -> Any:
    """A number, true or false; anything else is text."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
