"""Two specs under one name: does the new one still ask for all that the stored one asked for?"""

from collections.abc import Mapping, Sequence
from typing import Any

from trials.catalog import describe
from trials.later import LATER
from trials.spec import SpecError

Spec = Mapping[str, Any]
# every field of a sweep that decides its trials; specs of the first version lack it
ASKED = "asked"
# what stood for settings that a spec does not have, when their defaults were others
TUNING = {key: LATER["tuning"][key] for key in ("cost", "mirrored")}
SELF_POISONING = {"scheme": LATER["self_poison"]["scheme"], "folds": 0}
_RENAMED = {"planting": "self_poisoning", "star": "one_at_a_time", "walk": "strategy"}
# for copies of one kind of trigger, all that earlier versions knew, the two choose alike
_ALIKE = ({"min_asr_within_delta", "worst_kind_within_delta"},)
_DIGEST = "digest"  # of the same, for the first version


def check_covers(name: str, stored: Spec, given: Spec) -> None:
    """Refuse a spec that asks for less than the stored one under the same name, or for something
    else.

    Raises:
        SpecError: with the difference in one line.
    """
    if lost := differences(stored, given):
        raise SpecError(
            f"the store has a sweep {name!r} with another spec: {'; '.join(lost)}. Give this one "
            "another name, or "
            "--replace to let it have the name: the other's trials stay in the store, but are no "
            "longer its own."
        )


def keeps_members(stored: Spec, given: Spec) -> bool:
    """True where all trials of the stored spec are surely trials of the given one too."""
    known = ASKED in stored or stored.get(_DIGEST) == given.get(_DIGEST)
    return known and not differences(stored, given)


def differences(stored: Spec, given: Spec) -> list[str]:
    """What the stored spec asked for and the given one does not, a phrase for each field."""
    stored, given = modern(stored), modern(given)
    old, new = (
        spec[ASKED] if ASKED in stored and ASKED in given else spec for spec in (stored, given)
    )
    # a field that the older did not have is new
    fields = [f for f in old if f not in {ASKED, _DIGEST} and f in new]
    return [phrase for f in fields if (phrase := _difference(f, old[f], new[f]))]


def modern(spec: Spec) -> Spec:
    """A spec that an earlier version stored, with the names that fields have now; a setting whose
    default became another is written out, as it was then.
    """
    if ASKED not in spec:
        return spec
    asked = {_RENAMED.get(k, k): v for k, v in spec[ASKED].items()}
    asked["defenses"] = [_modern_defense(d) for d in asked.get("defenses", [])]
    if "tuning" in asked:
        asked["tuning"] = {**TUNING, **asked["tuning"]}
    if asked.get("game", "tuning") == "tuning" and "self_poisoning" in asked:
        asked["self_poisoning"] = [{**SELF_POISONING, **t} for t in asked["self_poisoning"]]
    return {**spec, ASKED: asked}


def written_out(self_poisoning: Spec) -> Spec:
    """A table of self-poisoning, with today's defaults of settings whose default was another."""
    known = describe("games", "self_poison").settings
    return {**{key: known[key].default for key in SELF_POISONING}, **self_poisoning}


def _modern_defense(defense: Spec) -> Spec:
    renamed = {_RENAMED.get(k, k): v for k, v in defense.items()}
    strategy = renamed.get("strategy")
    return renamed | ({"strategy": "one_at_a_time"} if strategy == "star" else {})


def _is_covered(old: Any, new: Sequence[Any]) -> bool:
    return any(_covers(old, one) for one in new)


def _difference(field: str, old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list):
        gone = [x for x in old if not _is_covered(x, new)]
        if not gone:
            return ""
        if all(isinstance(x, Mapping) and "name" in x for x in gone):
            named = ", ".join(_named(x, new) for x in gone)
            return f"{field}: {named}"
        if field == "victims":
            return f"victims: {len(gone)} of {len(old)} are other ones, or not asked for any more"
    elif old == new or (old, new) == (False, True) or (field == "rule" and {old, new} in _ALIKE):
        return ""
    return f"{field}: {_short(old)} there, {_short(new)} here"


def _covers(old: Any, new: Any) -> bool:
    """True where ``new`` asks for all that ``old`` does: the same, a longer search, or more points
    of the same grid.
    """
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return bool(old == new)
    changed = {k for k in old.keys() | new.keys() if old.get(k) != new.get(k)}
    if not changed <= {"trials", "limit"}:
        return False
    # a grid cut to more points holds those of the one that is cut to fewer
    whole, more_points = new.get("limit") == 0, new.get("limit", 0) > old.get("limit", 0) > 0
    return ("limit" not in changed or whole or more_points) and bool(
        new.get("trials", 0) >= old.get("trials", 0)
    )


def _named(old: Spec, new: list[Any]) -> str:
    same = next((x for x in new if x.get("name") == old["name"]), None)
    if same is None:
        return f"{old['name']!r} is left out"
    changed = sorted(k for k in old.keys() | same.keys() if old.get(k) != same.get(k))
    return f"{old['name']!r} has other settings ({', '.join(changed)})"


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
