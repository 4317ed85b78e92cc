"""Statistics on plain numbers, which know no record: intervals, ROC curves and their comparison,
rank correlation and Pareto fronts.
"""
