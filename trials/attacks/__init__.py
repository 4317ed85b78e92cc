"""Attacks that poison a training set, one a file; an attack's name is its file's name. Each
``poison`` returns a ``Backdoor``: the poisoned images, the trigger and what the attacker knows.
Files that begin with an underscore are shared by several.
"""
