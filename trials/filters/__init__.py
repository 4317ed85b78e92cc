"""Data filters that score how suspicious each training image is, one a file; a filter's name is its
file's name. Each ``score(view, rng, /, *, ...)`` is handed a ``DataView`` (``trials.views``): the
training set as the attackers left it, the trusted images, and a way to train a model; and returns
``SampleScores``. There is none here yet, and no game that leaves images out by their scores.
"""
