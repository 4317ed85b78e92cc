"""From a sweep to trials, in stages; and the strategies that search a space, grid or Optuna. Runs
nothing.
"""
