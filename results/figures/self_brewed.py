"""Recipes and filters as defenders see them who brew against themselves: success of their own
poison x accuracy on images that they held back, with the front.

Source: this project's; nothing is published of it.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

import plotly.graph_objects as go

from results.comparison.self_brewed import Group, SelfBrewed, self_brewed
from results.figures._attacks import named_looks
from results.figures._style import cda_axis, escaped, layout
from results.figures.targeted import edge
from results.selection.labels import attack, rejection, settings
from trials.spec import Filtering, Record


def figure(records: Sequence[Record], /) -> go.Figure:
    """A mark a setting, larger where defenders take it, a stepped line an attack; without traces
    where no defender compared two settings.
    """
    found = [one for one in self_brewed(records) if len(one.settings) > 1]
    if not found:
        return go.Figure(layout=layout(height=120))
    chart = go.Figure(layout=layout(xaxis=_AXIS, yaxis=cda_axis(), height=420))
    chart.update_yaxes(title_text="CDA on images held back (%)")
    names = _names(chain.from_iterable(one.settings for one in found))
    looks = named_looks(names.values())
    said = set[str]()
    for one in found:
        chart.add_trace(edge([_seen(s) for s in one.settings]))
        for setting in one.settings:
            name = names[id(setting)]
            misled, accuracy = _seen(setting)
            chart.add_scatter(
                x=[100 * misled],
                y=[100 * accuracy],
                mode="markers",
                marker={
                    "size": 15 if one.times(setting) else 9,
                    "color": looks[name].colour,
                    "symbol": looks[name].symbol,
                },
                name=escaped(name),
                legendgroup=name,
                showlegend=name not in said,
                hoverinfo="text",
                hovertext=[_hover(one, setting)],
            )
            said.add(name)
    return chart


_AXIS = {
    "title": {"text": "own success: the defenders' pairs that give the class wanted (%)"},
    "range": [-3, 103],
    "dtick": 20,
}


def _seen(setting: Group) -> tuple[float, float]:
    return setting.own("success"), setting.own("cda_control")


def _names(every: Iterable[Group]) -> dict[int, str]:
    """Of each setting, by its ``id``, the recipe, and the filter if there is one: with the share
    that it removes, unless there are several shares, as a search asks for.
    """
    settings = list(every)
    shares: dict[str, set[float]] = {}
    for setting in settings:
        if (how := setting.victim.filter) and not isinstance(how.reject, str):
            shares.setdefault(_filtered(setting, _quota(how)), set()).add(how.reject)
    found = {}
    for setting in settings:
        name, how = setting.victim.training.name, setting.victim.filter
        if how:
            name = _filtered(setting, _quota(how))
            if isinstance(how.reject, str) or len(shares[name]) == 1:
                name = _filtered(setting, f" {rejection(how)}")
        found[id(setting)] = name
    return found


def _filtered(setting: Group, how: str) -> str:
    victim = setting.victim
    assert victim.filter is not None
    return f"{victim.training.name}, {victim.filter.method.name}{how}"


def _quota(how: Filtering) -> str:
    quota = how.threshold.get("quota")
    return f", {quota}" if quota else ""


def _hover(one: SelfBrewed, setting: Group) -> str:
    victim, (misled, accuracy) = setting.victim, _seen(setting)
    name = _filtered(setting, f" {rejection(victim.filter)}") if victim.filter else ""
    said = [f"<b>{escaped(name or victim.training.name)}</b>", escaped(attack(victim))]
    said += [escaped(settings(victim.training))]
    kept = settings(victim.filter.method) if victim.filter else ""
    said += [escaped(kept)] if kept else []
    said += [f"own success {100 * misled:.1f} %, CDA {100 * accuracy:.1f} %"]
    said += [f"taken by {one.times(setting)} of {len(one.taken.options)} defenders"]
    return "<br>".join(said)
