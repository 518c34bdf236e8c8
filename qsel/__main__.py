"""``python -m qsel``: the command line, for torchrun."""

from qsel.cli import main

if __name__ == "__main__":
    main()
