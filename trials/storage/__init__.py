"""Where weights and records lie: artifacts in folders or at URIs, a node's cache of them, and
checkpoints of trials that run.
"""
