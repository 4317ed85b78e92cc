"""Runs trials: the scheduler that hands them out, drivers and their claims, worker processes, and
the outbox in which a finished record waits for the store.
"""
