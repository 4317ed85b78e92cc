"""What the live page shows: the running trials, the counts, and the report of what is stored."""

import contextlib
import functools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from results.report.page import render
from results.selection.contenders import rule_of
from results.store import Store
from results.store.queries import SweepRow
from sweep.console.running import Running, span, what
from sweep.watching.heard import Heard, Listener
from trials.spec import SpecError

SILENT = 15.0  # seconds after which a driver is said not to have told anything
SHARE = 10  # the report is drawn anew in at most one part in so many of the time
LEAST = 5.0  # and seconds that a drawn report stays at least


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at.

    Attributes:
        url: of the store.
        sweep: its name; the store's latest if empty.
        rule: by which winners are chosen; the sweep's own where empty.
        folder: the drivers' scratch folder.
    """

    url: str
    sweep: str
    rule: str
    folder: Path


class Pages:
    """The live page's parts. Any thread may ask."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._running: dict[str, Running] = {}
        self._listener = Listener()
        self._lock, self._drawing = threading.Lock(), threading.Lock()
        self._report, self._of, self._next = "", "", 0.0
        self._failed = ""  # what kept the report from being drawn anew, in one line

    def row(self) -> SweepRow:
        """The sweep and its counts.

        Raises SpecError where the store has no such sweep.
        """
        with Store.read(self._watched.url) as store:
            rows = store.sweeps()
        if self._watched.sweep:
            rows = [row for row in rows if row.name == self._watched.sweep]
        if not rows:
            named = f"sweep {self._watched.sweep!r}" if self._watched.sweep else "sweep"
            raise SpecError(f"the store has no {named} yet: poisonsweep run SPEC.toml makes one.")
        return rows[-1]

    def now(self) -> Mapping[str, Any]:
        """What runs now and what is stored, as plain values."""
        row = self.row()
        with self._lock:
            heard = self._listener.heard(self._watched.folder, row.name)
            drivers = [self._driver(one) for one in heard]
        return {
            "sweep": row.name,
            "done": row.done,
            "failed": row.failed,
            "pruned": row.pruned,
            "drivers": drivers,
            "undrawn": self._failed,
            "time": datetime.now(UTC).strftime("%H:%M:%S UTC"),
        }

    def _driver(self, one: Heard) -> Mapping[str, Any]:
        running = self._running.setdefault(one.driver, Running())
        running.take(one.progress)
        rows = [
            {
                "what": what(s.trial),
                "said": s.said,
                "done": s.done,
                "for": span(one.ran[s.trial.id]),
                "left": None if s.left is None else span(s.left),
            }
            for s in running.standings(one.progress)
        ]
        return {
            "driver": one.driver,
            "silent": span(one.silent) if one.silent > SILENT else "",
            "stage": ", ".join(one.progress.stage),
            "trials": rows,
        }

    def fragment(self) -> str:
        """The part of the page that is fetched anew every two seconds, as HTML."""
        return _template("now.html.j2").render(**self.now())

    def page(self) -> str:
        """The page around it, as HTML."""
        return _template("watch.html.j2").render(sweep=self.row().name)

    def report(self) -> str:
        """The report of what is stored, as it was last drawn."""
        if not self._report:
            with self._drawing:
                self._draw()
        return self._report

    def version(self) -> str:
        """Changes when the report does; a report that is out of date is drawn anew meanwhile, but
        not all the time.
        """
        if time.monotonic() >= self._next and self._drawing.acquire(blocking=False):
            threading.Thread(target=self._draw_anew, name="report", daemon=True).start()
        return self._of

    def _draw_anew(self) -> None:
        try:
            with contextlib.suppress(SpecError):  # the next look at the counts says it
                self._draw()
        except Exception as problem:  # the page says it, and what it shows stays
            self._failed = f"{type(problem).__name__}: {problem}".splitlines()[0]
        finally:
            self._drawing.release()

    def _draw(self) -> None:
        began = time.monotonic()
        try:
            self._draw_newer()
        finally:
            now = time.monotonic()
            self._next = now + max(LEAST, SHARE * (now - began))

    def _draw_newer(self) -> None:
        row = self.row()
        version = f"{row.name} {row.done} {row.failed} {row.pruned}"
        if version != self._of:
            with Store.read(self._watched.url) as store:
                records = store.records(row.name)
            at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            self._report = render(
                records, title=row.name, rule=self._watched.rule or rule_of(row), generated=at
            )
            self._of = version
        self._failed = ""


@functools.cache
def _template(name: str) -> jinja2.Template:
    kit = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return kit.from_string(beside(name))


def beside(name: str) -> str:
    """The text of a file that lies beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
