"""Statistics on plain numbers: intervals, ROC curves and their comparison, correlation, Pareto
fronts.
"""
