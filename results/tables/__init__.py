"""Tables: one file each, its verb is ``table(records) -> DataFrame``.

Percent and points only here and in figures.
"""
