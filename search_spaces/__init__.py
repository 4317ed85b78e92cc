"""What to try: one search space a defense, after Pick your Poison, section A-E and Table V, with
profiles for data sets of different sizes; in ``detectors`` one a detector, in ``filters`` one
a data filter, in ``recipes`` one a training against poison. A space asks for its settings, so the
same function gives a grid, a list or an Optuna trial.
"""
