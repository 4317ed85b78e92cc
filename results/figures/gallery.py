"""What attacks do to an image: clean, with the trigger, and the difference, one column an attack.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, figure 8.
Deviation: the difference is drawn around grey and magnified, the same for all attacks, so that
faint triggers show.
"""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from results.figures._style import escaped, layout

Picture = NDArray[np.uint8]
ROWS = ("clean", "with the trigger", "difference")


def figure(columns: Mapping[str, tuple[Picture, Picture]], /, *, gain: float = 3.0) -> go.Figure:
    """A figure without traces where there is no attack.

    Args:
        columns: by attack, the image before and after, uint8 (h, w, 3).
        gain: how much the difference is magnified.
    """
    if not columns:
        return go.Figure(layout=layout(height=120))
    titles = [escaped(name) for name in columns]
    chart = make_subplots(
        rows=3,
        cols=len(columns),
        column_titles=titles,
        row_titles=list(ROWS),
        horizontal_spacing=0.01,
        vertical_spacing=0.02,
    )
    for at, (clean, triggered) in enumerate(columns.values(), 1):
        for row, picture in enumerate((clean, triggered, difference(clean, triggered, gain)), 1):
            chart.add_trace(go.Image(z=picture, hoverinfo="skip"), row=row, col=at)
    chart.update_layout(layout(height=520))
    chart.update_xaxes(visible=False)
    chart.update_yaxes(visible=False)
    return chart


def difference(clean: Picture, triggered: Picture, gain: float) -> Picture:
    """What was added, uint8 (h, w, 3) around grey, magnified and clipped."""
    added = triggered.astype(np.float64) - clean.astype(np.float64)
    return np.clip(np.round(127.5 + gain * added), 0, 255).astype(np.uint8)
