"""From a sweep to trials, in stages, and the strategies that strategy a search space.

Runs nothing.
"""
