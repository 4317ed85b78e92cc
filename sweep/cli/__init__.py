"""The command line: ``app`` lists the commands, the files ``*_commands`` declare their options, the
files ``*_views`` print what they find, and ``entry`` turns what goes wrong into exit codes.
"""

from sweep.cli.app import app
from sweep.cli.entry import main

__all__ = ["app", "main"]
