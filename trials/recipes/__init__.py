"""Recipes by which a victim is trained, one a file; a recipe's name is its file's name. ``given``
trains nothing and opens a checkpoint instead.
"""
