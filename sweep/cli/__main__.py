"""``python -m sweep.cli``."""

from sweep.cli.app import main

if __name__ == "__main__":
    main()
