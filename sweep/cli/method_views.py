"""How methods are listed."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from results.selection.rules import RULES
from sweep.console.terminal import Hanging, Plain, shown
from trials import catalog
from trials.spec import SpecError

if TYPE_CHECKING:
    from sweep.commands.fitting import Fitting

KINDS = [*catalog.KINDS, "rules"]  # of methods, for ``list``


def methods(kind: str, as_json: bool) -> None:
    """Print the methods of a kind, or of every kind."""
    if kind and kind not in KINDS:
        raise SpecError(catalog.unknown("kind", kind, KINDS))
    found = {k: _described(k) for k in ([kind] if kind else KINDS)}
    if as_json:
        print(json.dumps(found, indent=1))
        return
    console = Plain()
    for k, entries in found.items():
        if kind:
            _show_with_settings(console, k, entries)
        elif entries:
            _show_summaries(console, k, entries)


def fitting(kind: str, found: "Fitting", as_json: bool) -> None:
    """Print which methods of a kind fit a model, and why the others do not."""
    if as_json:
        fits = {n: {"fits": not why, "why": why or None} for n, why in found.lacks.items()}
        print(json.dumps({"model": found.model, kind: fits}, indent=1))
        return
    console = Plain()
    console.print(Text(f"{kind} for {shown(found.model)}", "bold"))
    longest = max(map(len, found.lacks))
    for name, why in found.lacks.items():
        text = Text.assemble((name.ljust(longest), "bold cyan"), f"  {why or 'fits'}")
        console.print(Hanging(text, 2, longest + 4))


def _show_summaries(console: Plain, kind: str, entries: Mapping[str, Any]) -> None:
    console.print(f"[bold]{kind}[/bold]")
    longest = max(map(len, entries))
    beside = 2 * longest < console.width
    at = longest + 4 if beside else 6  # the column where the summaries begin
    for name, entry in entries.items():
        _show_head(console, name.ljust(longest) if beside else name, entry, at)


def _show_with_settings(console: Plain, kind: str, entries: Mapping[str, Any]) -> None:
    console.print(f"[bold]{kind}[/bold]")
    for name, entry in entries.items():
        _show_head(console, name, entry, 6)
        if entry.get("source"):
            console.print(Hanging(Text(f"Source: {shown(entry['source'])}", "dim"), 6, 10))
        if entry.get("needs"):
            text = f"Needs of a model: {', '.join(entry['needs'])}"
            console.print(Hanging(Text(text, "dim"), 6, 10))
        for setting in entry.get("settings", []):
            value = f"{setting['name']} = {setting['default']!r}"
            text = f"{value}  ({setting['accepts']})  {setting['doc']}"
            console.print(Hanging(Text(shown(text)), 6, 10))


def _show_head(console: Plain, name: str, entry: Mapping[str, Any], at: int) -> None:
    text = Text.assemble((name, "bold cyan"), f"  {shown(entry['summary'])}")
    console.print(Hanging(text, 2, at))


def _described(kind: str) -> dict[str, Any]:
    if kind == "rules":
        return {n: {"summary": (f.__doc__ or "").splitlines()[0]} for n, f in RULES.items()}
    entries = {}
    for name in catalog.names(kind):
        m = catalog.describe(kind, name)
        settings = [
            {"name": s.name, "default": s.default, "accepts": s.accepts, "doc": s.doc}
            for s in m.settings.values()
        ]
        entries[name] = {
            "summary": m.summary,
            "source": m.source,
            "deviation": m.deviation,
            "needs": sorted(m.needs),
            "compares": m.compares,
            "settings": settings,
        }
    return entries
