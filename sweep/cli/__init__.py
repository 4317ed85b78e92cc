"""The command line."""

from sweep.cli.app import app, main

__all__ = ["app", "main"]
