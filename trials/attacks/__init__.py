"""Attacks that poison a training set, one a file; an attack's name is its file's name. Each
``poison`` returns a ``Poisoning``: the poisoned set, where its images are, and the attacker's goal.
Files that begin with an underscore are shared by several.
"""
