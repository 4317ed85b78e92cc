"""What one trial does, in one process: it makes or loads data and models, runs an attack, a defense
or a detector, and measures the outcome in a game. Knows no sweep, no store and no cluster, and
loads neither Ray nor Optuna.
"""
