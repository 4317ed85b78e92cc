"""Tables, one a file, each with ``table(records)``, which returns a pandas DataFrame. Percent and
points are used only here and in figures; elsewhere rates are fractions.
"""
