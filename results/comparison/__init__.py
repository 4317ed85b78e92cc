"""Many attacks, who wins: what attacks leave after repair, what detectors see, and the fronts of
both sides.
"""
