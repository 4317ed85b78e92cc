"""Search spaces of the recipes against poison, one a file; a space's name is its recipe's name. The
schedule of the training stays, so that one attacker's poison serves every point.
"""
