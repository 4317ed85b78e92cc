"""Choices checked against what a method's file declares, with every default written out."""

import os
from functools import lru_cache
from pathlib import Path

from trials.catalog.method_kinds import unknown
from trials.catalog.methods import describe
from trials.catalog.signatures import Setting
from trials.digests import digest_of
from trials.spec import KIND_OF, Filtering, MethodConfig, Scalar, SpecError, Trial, Victim


def resolve(kind: str, config: MethodConfig) -> MethodConfig:
    """The same config with every default written out, each value checked, and files' digests filled
    in.

    Raises:
        SpecError: unknown method or setting, a value of the wrong type or out of range, a file that
            is not there.
    """
    method = describe(kind, config.name)
    for key in config.params:
        if key not in method.settings:
            raise SpecError(unknown(f"setting of {config.name}", key, list(method.settings)))
    params: dict[str, Scalar] = {}
    files: dict[str, str] = {}
    for key, setting in sorted(method.settings.items()):
        default = method.default_of(key, config.params)
        value = _checked(config.name, setting, config.params.get(key, default))
        if key in method.added_later and value == setting.default:
            continue
        if setting.is_path(value):
            value, files[key] = _located(config.name, key, str(value))
        params[key] = value
    return MethodConfig(config.name, params, files)


def resolve_victim(victim: Victim) -> Victim:
    """The victim with every config resolved."""
    return Victim(
        dataset=resolve("datasets", victim.dataset),
        model=resolve("models", victim.model),
        attacks=tuple(resolve("attacks", a) for a in victim.attacks),
        training=resolve("recipes", victim.training),
        seed=victim.seed,
        reserve=victim.reserve,
        filter=_filtering(victim.filter) if victim.filter else None,
        overlap=victim.overlap,
    )


def _filtering(given: Filtering) -> Filtering:
    reject = given.reject
    if not isinstance(reject, str):
        reject = float(reject)
    own = given.self_poisoning
    threshold = resolve("games", MethodConfig("filtering", given.threshold))
    return Filtering(
        method=resolve("filters", given.method),
        reject=reject,
        trusted=float(given.trusted),
        seed=given.seed,
        self_poisoning=resolve("games", own) if own else None,
        threshold=threshold.identity()["params"],
    )


def resolve_trial(trial: Trial) -> Trial:
    """The trial with every config resolved; only a resolved trial's id is compared."""
    roles = {role: resolve(KIND_OF[role], config) for role, config in trial.roles.items()}
    return Trial(
        game=resolve("games", trial.game),
        victim=resolve_victim(trial.victim),
        method=roles.get("defense"),
        trusted=float(trial.trusted),
        seed=trial.seed,
        self_poisoning=roles.get("self_poisoning"),
        detector=roles.get("detector"),
    )


def _checked(method: str, setting: Setting, value: object) -> Scalar:
    wanted = setting.type
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
    if fits and setting.choices:
        fits = value in setting.choices
    if fits and setting.range is not None:
        fits = value in setting.range  # type: ignore[operator]
    if fits and wanted is float:
        fits = abs(value) != float("inf") and value == value  # type: ignore[arg-type]
    if not fits:
        raise SpecError(f"{method}: {setting.name} must be {setting.accepts}, got {value!r}.")
    return value  # type: ignore[return-value]


def _located(method: str, key: str, value: str) -> tuple[str, str]:
    try:
        path = Path(os.path.expandvars(value)).expanduser()
        if "$" in str(path):
            variable = str(path).split("$", 1)[1].split("/")[0].strip("{}")
            raise SpecError(
                f"{method}: {key} is {value!r}, but {variable} is not set. Set it, or write {key} "
                "= a path."
            )
        if not path.exists():
            raise SpecError(f"{method}: {key} names {str(path)!r}, which does not exist.")
        if not (path.is_file() or path.is_dir()):  # a pipe or a device would be read for ever
            raise SpecError(
                f"{method}: {key} names {str(path)!r}, which is neither a file nor a folder."
            )
        str(path.resolve()).encode()  # a store holds text
        return str(path.resolve()), _digest(path.resolve(), path.stat().st_mtime_ns)
    except UnicodeEncodeError as problem:
        raise SpecError(
            f"{method}: {key} names {value!r}, which is no text. Rename it."
        ) from problem
    # RuntimeError: no such user's home, links or folders without end
    except (OSError, RuntimeError) as problem:
        raise SpecError(
            f"{method}: {key} is {value!r}, which cannot be read: {problem}."
        ) from problem


@lru_cache(256)
def _digest(path: Path, changed: int) -> str:
    """The digest, once a process for a path that stays as it is."""
    return digest_of(path)
