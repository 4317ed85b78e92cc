"""Plotly figures, one a file, each with ``figure(records)``. Axes are in percent."""
