"""Tables as the page shows them: columns that say nothing left out, numbers rounded, gaps with
their reason.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from results.selection.labels import RULES_SAID

_VICTIM = ("dataset", "model", "attack", "victim seed", "r (%)")
_SAID_ONCE = ("triggered images", "seeds", "copies", "ASR before (%)", "clean images")
_OPTIMUM = "Table V of the paper"
_TEXT = {"settings", "why", _OPTIMUM, "attack's settings", "training", "chosen here"}
_UNSEEN = "no detector looked at it"
_WHY: Mapping[str, str] = {
    "95 % interval (%)": "the number of images is not recorded",
    "CDA 95 % interval (%)": "the number of images is not recorded",
    "sd (pp)": "a single value has no spread",
    "triggered images": "not recorded, or no attack to measure",
    "clean images": "not recorded",
    "copies": "not recorded",
    "costs a clean model (pp)": "said beside the choice, where a clean model was repaired alike",
    "paper's η (%)": "the paper has no such case",
    _OPTIMUM: "the paper names none for this defense and dataset",
    "chosen here": "not a setting of ours",
    "ASR (%)": "a clean victim, or one of which the attack is unknown",
    "CDA (%)": "no test images were given",
    "95 % interval of the ASR (%)": "no ASR",
    "attack's settings": "no attack",
    "ASR before (%)": "not recorded",
    "last step": "nothing was measured",
    "why": "stopped early by the search, not an error",
    "defense": "no defense is part of this game",
    "settings": "the model as it was, or a defense without settings",
    "m": "no budget: a clean victim, or an attack without one",
    **dict.fromkeys(
        ("r (%)", "detector", "ρ (AUC)", "poisoned models", "clean models", "few models"), _UNSEEN
    ),
    "lowest in (% of resamples)": "beyond Δ, or an attack with a single model",
    "left out": "no other pair",
    "AUROC": "no poisoned rows to find",
    "TPR at 1 % FPR (%)": "no poisoned rows to find",
    "TPR at 5 % FPR (%)": "no poisoned rows to find",
    "poisoned rows removed (%)": "no poisoned rows to find",
    "max ASR (%)": "no attack, or no model was trained on what is kept",
    "mean ASR (%)": "no attack, or no model was trained on what is kept",
    "IoU": "no trigger of its own place",
    "IoU sd": "no trigger of its own place",
    **dict.fromkeys(("published success (%)", "published in"), "nothing was published of its like"),
    **dict.fromkeys(("clip", "noise", "privacy ε"), "not a setting of this training"),
}


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    kind: str  # "number", "text", "word" or "gap"


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table ready for the page; ``rule`` is said in its header."""

    caption: str
    headers: tuple[tuple[str, str], ...]  # name, kind
    rows: tuple[tuple[Cell, ...], ...]
    starts: tuple[bool, ...]  # the first row of a group
    gaps: tuple[str, ...]  # what a dash means, by column
    rule: str
    shared: tuple[str, ...]  # columns with one value, said once
    notes: tuple[str, ...]


def report_table(
    frame: pd.DataFrame,
    caption: str,
    *,
    hide: Collection[str] = (),
    group: str | None = None,
    notes: Iterable[str] = (),
) -> ReportTable | None:
    """The frame as a table of the page; None where it has no rows.

    Columns of gaps and victim columns with one value are left out.

    Args:
        frame: a table of ``results.tables``.
        caption: what it shows.
        hide: columns to leave out.
        group: column whose value is shown once where it repeats.
        notes: said under the table.
    """
    if frame.empty:
        return None
    frame = _used(frame)
    rules = sorted(set(frame["rule"])) if "rule" in frame else []
    dull = {c for c in _VICTIM if c in frame and frame[c].nunique(dropna=False) == 1}
    columns = list(map(str, frame.columns))
    theirs = {c for c in columns if _of_paper(c, columns)}
    empty = {c for c in columns if _only_gaps(c, frame[c])}
    alike = [
        c for c in _SAID_ONCE if c in frame and len(frame) > 1 and frame[c].map(repr).nunique() == 1
    ]
    alike += [c for c in ("too costly", "failed", "pruned") if c in frame and not frame[c].any()]
    alike = [c for c in alike if c not in empty]
    shared = [(c, _cell(c, frame[c].iloc[0])) for c in alike]
    names = [
        c
        for c in frame.columns
        if c not in dull and c not in empty and c not in hide and c not in alike and c != "rule"
    ]
    rows, starts, missing = [], [], set()
    before: Any = None
    for _, row in frame.iterrows():
        key = None if group is None else (*(row[c] for c in _VICTIM if c in frame), row[group])
        fresh = group is None or key != before
        cells = []
        for name in names:
            cell = _cell(name, row[name]) if fresh or name != group else Cell("", "word")
            missing |= {name} if cell.kind == "gap" else set()
            cells.append(cell)
        rows.append(tuple(cells))
        starts.append(group is not None and fresh)
        before = key
    kinds = [_kind_of(column) for column in zip(*rows, strict=True)]
    gaps = _gaps([n for n in names if n in missing], theirs)
    notes = (
        *notes,
        *(
            ["The paper has none of these cases."]
            if (theirs | {_OPTIMUM}) & empty - set(hide)
            else []
        ),
    )
    said = "; ".join(f"{RULES_SAID.get(r, r)} ({r})" for r in rules)
    return ReportTable(
        caption,
        tuple(zip(names, kinds, strict=True)),
        tuple(rows),
        tuple(starts),
        gaps,
        said,
        tuple(f"{n} {e.text}" for n, e in shared),
        notes,
    )


def _only_gaps(name: str, values: Iterable[Any]) -> bool:
    return all(_cell(name, v).kind == "gap" for v in values)


def _kind_of(column: Iterable[Cell]) -> str:
    """The kind of a column's cells, gaps aside."""
    return next(cell.kind for cell in column if cell.kind != "gap")


def _used(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without the settings of runs that stopped at step 0: nothing was done with them."""
    for step in ("step", "oracle step"):
        if step in frame and "settings" in frame:
            frame = frame.assign(settings=frame["settings"].where(frame[step] != 0, None))
    return frame


def _of_paper(column: str, columns: Iterable[str]) -> bool:
    """A column of the paper's numbers, or of ours less those."""
    stem, cut, _ = column.partition(" difference")
    return column.startswith("paper's ") or (
        bool(cut) and any(c.startswith(f"paper's {stem}") for c in columns)
    )


def _gaps(names: Sequence[str], theirs: Collection[str]) -> tuple[str, ...]:
    """What a dash means: one clause a reason."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_reason[_why(name, name in theirs)].append(name)
    return tuple(f"{', '.join(some)}: {reason}" for reason, some in by_reason.items())


def _why(column: str, theirs: bool) -> str:
    if theirs:
        return "the paper has no such case, or a single model has no interval"
    usual = "a single model has no interval" if "interval" in column else "not recorded"
    return _WHY.get(column, usual)


def _cell(name: str, given: Any) -> Cell:
    if given is None or given == "" or (isinstance(given, float) and not math.isfinite(given)):
        return Cell("–", "gap")
    if isinstance(given, bool):
        return Cell("yes" if given else "no", "word")
    if isinstance(given, int):
        return Cell(f"{given:,}" if given >= 10_000 else str(given), "number")
    if isinstance(given, float):
        return Cell(_float(name, given), "number")
    if name in _TEXT:
        # no line ends inside a setting
        return Cell(str(given).replace(" = ", "\u00a0=\u00a0"), "text")
    return Cell(str(given), "number" if "interval" in name else "word")


def _float(name: str, given: float) -> str:
    if name == "r (%)":
        return f"{given:g}"
    return f"{given:.1f}" if "(%)" in name or "(pp)" in name else f"{given:.2g}"
