"""``python -m poisonsweep``: the command line."""

from sweep.cli import main

if __name__ == "__main__":
    main()
