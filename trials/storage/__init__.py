"""Where weights and records lie: artifacts in folders or at URIs, a node's cache, checkpoints of
running trials.
"""
