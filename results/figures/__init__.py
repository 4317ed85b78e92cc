"""Figures: one file each, its verb is ``figure(records) -> plotly Figure``. Axes are in percent."""
