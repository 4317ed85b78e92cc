"""The part of plotly.js that our figures need (bars and scatter), a quarter of what plotly ships
for Python.
"""

from pathlib import Path


def plotly_js() -> str:
    """The script, for a page that loads nothing from anywhere."""
    return (
        (Path(__file__).parents[1] / "vendor")
        .joinpath("plotly-basic.min.js")
        .read_text(encoding="utf-8")
    )
