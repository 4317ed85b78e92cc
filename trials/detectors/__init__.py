"""Detectors that score how suspicious a model is, one a file; a detector's name is its file's name.
Each ``score`` is handed a model, a repaired copy of it and trusted images, and returns a
``Suspicion``.
"""
