"""The TOML file of a sweep, read into frozen values; every key and value is checked, and refused in
one line.
"""
