"""Data sets, one a file; a data set's name is its file's name. Each ``load`` reads one split as
``Images`` from files that are on disk, or from a package. Files that begin with an underscore are
shared by several.
"""
