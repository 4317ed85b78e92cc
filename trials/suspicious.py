"""Up to what a trigger that was reconstructed from a model is suspicious."""

# the share that ``trials.reconstruction`` measures, by the metric in which records have it
SUSPICIOUS = {"mask_share": 0.5, "odds_share": 0.3}
WORKS = 0.8  # ASR that a trigger must have before any repair
