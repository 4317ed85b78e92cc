"""One victim, which defense: selection rules, configurations over seeds, winners, and their
confirmation.
"""
