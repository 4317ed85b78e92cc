"""Runs trials: the scheduler that hands them out, drivers and their claims, workers, and the outbox
between them.
"""
