"""``python -m poisonsweep``: the command line."""

from sweep.cli.app import main

if __name__ == "__main__":
    main()
