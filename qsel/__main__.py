"""The command line: ``qsel``, and ``python -m qsel`` for torchrun."""

import sys


def main() -> None:
    """Run the command line, or say which extra brings it."""
    try:
        from qsel.cli import main as run
    except ModuleNotFoundError as error:
        print(
            f"qsel: the package {error.name} is missing; install it with "
            "pip install 'qsel[experiments]'",
            file=sys.stderr,
        )
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
