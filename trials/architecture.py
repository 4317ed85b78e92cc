"""A model as one word: ``resnet18:width=16``, ``torchvision:vgg11_bn,norm=half``,
``timm:NAME`` or ``package.module:callable``.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

from trials import catalog
from trials.spec import MethodConfig, Scalar, SpecError, Victim

OWN = "own"  # the model that is a callable of the user's
LIVE = "live"  # a module of a session of Python, which poisonsweep.defend alone names
ALLOWED = "POISONSWEEP_MODELS"  # modules whose callables a sweep's file may name, with commas
_LIVE_ALONE = (
    "the model live is a module of a session of Python: call poisonsweep.defend(module, ...) there."
)
# what stands behind the colon, and whatever else is no setting of the model
_FIRST = {"torchvision": "arch", "timm": "arch", "hugging_face": "config", OWN: "callable"}
_REST = {OWN: "arguments"}


def parsed(arch: str) -> tuple[str, dict[str, Scalar]]:
    """The model's name and its settings, typed as the model's settings are.

    Raises:
        SpecError: no such model or setting, or a value of another type.
    """
    name, _, rest = arch.partition(":")
    if name == LIVE:
        raise SpecError(_LIVE_ALONE)
    first, *others = rest.split(",")
    if name not in catalog.names("models") and _may_be_callable(name, first):
        return _settings(OWN, [f"callable={name}:{first}", *others])
    if name not in catalog.names("models"):
        raise SpecError(
            f"{catalog.unknown('model', name, catalog.names('models'))} Others: torchvision:NAME, "
            "timm:NAME, package.module:callable."
        )
    if name in _FIRST and first and "=" not in first:
        first = f"{_FIRST[name]}={first}"
    return _settings(name, [first, *others])


def written(model: MethodConfig, setting: str) -> str:
    """What to give for a model of this name with that setting, others left out: as ``--arch``, or
    with a live module to ``defend``.
    """
    if model.name == LIVE:
        name, _, value = setting.partition("=")
        return f"{name}={value!r}"
    key = _FIRST.get(model.name)
    if key is None:
        return f"{model.name}:{setting}"
    prefix = "" if model.name == OWN else f"{model.name}:"
    return f"{prefix}{model.params[key]},{setting}"


def must_be_allowed(victims: Iterable[Victim]) -> None:
    """Raises SpecError where a victim, or a surrogate of its attackers, is a callable of a module
    that the user has not named, or a surrogate is no known model.

    A stranger's file or store must not choose which code runs; ``--arch`` and Python are the user's
    own.
    """
    allowed = [a for a in os.environ.get(ALLOWED, "").replace(" ", "").split(",") if a]
    for model in chain.from_iterable(map(_models, victims)):
        place = str(model.params.get("callable", ""))
        module = place.partition(":")[0]
        if model.name == LIVE:
            raise SpecError(_LIVE_ALONE)
        if model.name == OWN and not any(f"{module}.".startswith(f"{a}.") for a in allowed):
            raise SpecError(
                f"the model {place!r} is code that would be run. If you trust "
                f"it, set {ALLOWED}={module} in the environment."
            )


def surrogate_of(victim: Victim, attack: MethodConfig) -> MethodConfig:
    """The model that an attacker crafts poison against: the one that the attack's ``arch`` names,
    or else of the victim's architecture.

    Raises:
        SpecError: no such model or setting, or a value out of range.
    """
    arch = str(attack.params.get("arch", ""))
    if not arch:
        return victim.model
    try:
        return catalog.resolve("models", MethodConfig(*parsed(arch)))
    except SpecError as problem:
        raise SpecError(f"{attack.name}: arch = {arch!r} is no surrogate: {problem}") from problem


def surrogate_said(victim: Victim, attack: MethodConfig) -> MethodConfig:
    """As ``surrogate_of``; what ``arch`` says as a name where it is not known here, in a store of
    others.
    """
    try:
        return surrogate_of(victim, attack)
    except SpecError:
        return MethodConfig(str(attack.params["arch"]))


def _models(victim: Victim) -> list[MethodConfig]:
    return [victim.model, *(surrogate_of(victim, attack) for attack in victim.attacks)]


def _may_be_callable(module: str, name: str) -> bool:
    return all(part.isidentifier() for part in (*module.split("."), *name.split(".")))


def _settings(name: str, parts: list[str]) -> tuple[str, dict[str, Scalar]]:
    known = catalog.describe("models", name).settings
    params: dict[str, Scalar] = {}
    rest: list[str] = []
    for part in filter(None, parts):
        key, equals, value = part.partition("=")
        if equals and key in known:
            params[key] = _typed(known[key], value)
        elif name in _REST:
            rest.append(part)
        else:
            raise SpecError(catalog.unknown(f"setting of {name} in --arch", key, list(known)))
    if rest:
        params[_REST[name]] = ",".join([*filter(None, [str(params.get(_REST[name], ""))]), *rest])
    return name, params


def _typed(setting: catalog.Setting, value: str) -> Scalar:
    kind: Callable[[str], Scalar] = setting.type
    try:
        return value == "true" if setting.type is bool else kind(value)
    except ValueError as problem:
        raise SpecError(
            f"--arch: {setting.name} must be {setting.accepts}, got {value!r}."
        ) from problem


def as_table(value: str) -> Mapping[str, Any]:
    """The same as a table of a sweep's file."""
    name, params = parsed(value)
    return {"name": name, **params}
