"""What a sweep gave, as one object for Python and for notebooks: frames, figures, and the answer as
HTML.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

import pandas as pd
import plotly.graph_objects as go

from results.export.frames import curve_frame, frame
from results.figures import fronts, importance, tradeoff
from results.report.page import write
from results.report.recommendation import answer
from results.selection.configurations import tasks
from results.selection.rules import DEFAULT_RULE
from results.selection.task_names import task_names
from results.selection.winners import Winner, winners
from results.tables import winners as winners_table
from trials.spec import Record, SpecError

FIGURES = {"tradeoff": tradeoff.figure, "fronts": fronts.figure, "importance": importance.figure}
_SHOWN = (
    *("defense", "η: ASR left (%)", "95 % interval (%)", "CDA (%)", "CDA lost (pp)", "step"),
    *("within Δ", "tried", "failed", "settings"),
)
_MANY = 5  # tasks, beyond which the answers are left to the report


@dataclass(frozen=True, slots=True, eq=False)
class Winners(Sequence[Winner]):
    """The best configuration of each defense, the best defense first: a sequence."""

    found: tuple[Winner, ...]

    @overload
    def __getitem__(self, index: int) -> Winner: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Winner]: ...

    def __getitem__(self, index: int | slice) -> Winner | Sequence[Winner]:
        return self.found[index]

    def __len__(self) -> int:
        return len(self.found)

    def frame(self) -> pd.DataFrame:
        """One row a defense and task; the columns say which are percent."""
        return winners_table.of(self.found)

    def _repr_html_(self) -> str:
        return winners_html(self.frame())


@dataclass(frozen=True, slots=True, eq=False)
class SweepResults:
    """The records of a sweep, and what follows from them.

    Attributes:
        name: of the sweep.
        rule: that chooses configurations and winners.
        records: of all its trials, of any game and status.
    """

    name: str
    rule: str = DEFAULT_RULE
    records: tuple[Record, ...] = field(default=(), repr=False)

    @property
    def best(self) -> Winners:
        """The winner of each defense, the best one first."""
        return Winners(tuple(winners(self.records, self.rule)))

    @property
    def winners(self) -> pd.DataFrame:
        """The same as a frame, one row a defense and task."""
        return self.best.frame()

    @property
    def curves(self) -> pd.DataFrame:
        """One row a point: the trial's id, step, cda and asr (fractions), seconds, and the rest."""
        return curve_frame(self.records)

    def frame(self) -> pd.DataFrame:
        """One row a trial: what it was, its settings, metrics (fractions) and error."""
        return frame(self.records)

    def figure(self, kind: Literal["tradeoff", "fronts", "importance"] = "tradeoff") -> go.Figure:
        """A Plotly figure of the report.

        Args:
            kind: tradeoff is ASR and CDA along each winner's run, fronts those of every
                configuration, importance which settings decided the ASR.

        Raises:
            SpecError: another kind.
        """
        if kind not in FIGURES:
            raise SpecError(f"kind must be one of {', '.join(FIGURES)}, got {kind!r}.")
        return FIGURES[kind](self.records, rule=self.rule)

    def report(self, path: str | Path) -> Path:
        """Write the page of evidence; see ``results.report.write``."""
        return write(self.records, path, title=self.name, rule=self.rule)

    def sentences(self) -> tuple[str, ...]:
        """The answer to each task's question, and how far it can be trusted; none where there are
        many.
        """
        if self.rule == "oracle":
            return ()
        names, found = task_names(self.records, "tuning"), self.best
        told = []
        for task in self._tasks():
            of_task = [w for w in found if w.task == task]
            told.append(answer(names[task], of_task, self.records))
        return tuple(" ".join((*_where(a.where), a.headline, *a.sentences)) for a in told if a)

    def _tasks(self) -> list[Any]:
        found = list(tasks(self.records))
        return found if len(found) <= _MANY else []

    def _repr_html_(self) -> str:
        return paragraphs(self.sentences()) + winners_html(self.winners)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Report(SweepResults):
    """A sweep's results, and the page that was written of them."""

    path: Path

    def _repr_html_(self) -> str:
        return SweepResults._repr_html_(self) + files_html([str(self.path)])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Chosen(SweepResults, Mapping[str, Any]):
    """A mapping of what ``choice.json`` holds, and the results behind it.

    Attributes:
        facts: what ``choice.json`` holds, ``files`` (those written) and ``set_aside``.
    """

    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __getitem__(self, key: str) -> Any:
        return self.facts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.facts)

    def __len__(self) -> int:
        return len(self.facts)

    @property
    def verdict(self) -> str:
        """``repaired`` or ``filtered``, or why not."""
        return str(self.facts["verdict"])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outcome(Chosen):
    """What ``defend`` did: a mapping of what ``choice.json`` holds, and the results behind it.

    Attributes:
        facts: what ``choice.json`` holds, ``files`` (those written) and ``set_aside``.
        model: the repaired network, where a live one was given and weights were written; it has the
            given one's class, device, types, modes and ``requires_grad``.
    """

    model: Any = None

    @property
    def sentence(self) -> str:
        """What is to be said of it."""
        return str(self.facts["sentence"])

    def _repr_html_(self) -> str:
        head = f"<p><b>{html.escape(self.verdict)}</b></p>{paragraphs([self.sentence])}"
        warned = paragraphs([f"Warning: {text}" for text in self.facts["warnings"]])
        return head + warned + winners_html(self.winners) + files_html(self.facts["files"])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FilterOutcome(Chosen):
    """What ``filter`` did: a mapping of what ``choice.json`` holds, and the results behind it.

    Attributes:
        facts: what ``choice.json`` holds, ``files`` (those written) and ``set_aside``.
        scores: one row an image, in the set's order: path, class, score, kept, and the reason;
            empty where no filter has finished.
    """

    scores: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    def sentences(self) -> tuple[str, ...]:
        """What is to be said of the answer, notes last."""
        return (*self.facts["said"], *self.facts["notes"])

    def _repr_html_(self) -> str:
        head = f"<p><b>{html.escape(self.verdict)}</b></p>{paragraphs(self.sentences())}"
        return head + files_html(self.facts["files"])


def paragraphs(sentences: Sequence[str]) -> str:
    """Each as a paragraph of HTML."""
    return "".join(f"<p>{html.escape(text)}</p>" for text in sentences)


def winners_html(table: pd.DataFrame) -> str:
    """The columns of winners that a person looks at first."""
    if table.empty:
        return "<p>No defense has finished.</p>"
    several = [c for c in ("dataset", "model", "attack", "r (%)") if table[c].nunique() > 1]
    return table[[*several, *_SHOWN]].to_html(index=False, border=0, na_rep="–")


def files_html(files: Sequence[str]) -> str:
    """The files that were written."""
    shown = [f"<code>{html.escape(file)}</code>" for file in files]
    return f"<p>Written: {', '.join(shown)}</p>" if shown else ""


def _where(where: str) -> list[str]:
    return [f"{where}:"] if where else []
