"""The command line: ``app`` declares the commands and their options, ``views`` prints what they
find.
"""

from sweep.cli.app import app, main

__all__ = ["app", "main"]
