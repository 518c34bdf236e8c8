"""The commands, and the options and outputs that they share."""

import sys
from typing import Annotated

import typer

from qsel.experiments import row_names

Data = Annotated[
    str,
    typer.Option(
        help="'synthcars' (drawn by the package), the folder of Stanford Cars 196, or "
        "a folder of images as coarse/fine/image.jpg. Options follow a question mark: "
        "'stanford_cars?parts=train&coarse=body9'."
    ),
]
Preset = Annotated[
    str,
    typer.Option(
        help="smoke: seconds, shows that it runs. laptop: minutes on a CPU. frozen: a "
        "linear layer on a frozen trunk. upper: the trunk's upper part, on a CPU. "
        "paper: ResNet-101 at 224 px, for a GPU."
    ),
]
Method = Annotated[
    str,
    typer.Option(
        help=f"A row of Table 1: {', '.join(row_names.RIVALS)}; by quadruplets "
        f"{', '.join(row_names.QUADRUPLETS)}; by rules that are not the paper's "
        f"{', '.join(row_names.VARIANTS)}; without training "
        f"{', '.join(row_names.UNTRAINED)}."
    ),
]
Rule = Annotated[
    str, typer.Option("--method", help=f"{', '.join(row_names.QUADRUPLETS)}.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a setting of the preset, as name=value; may be repeated. All "
        "names stand in qsel/experiments/config.py.",
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Decoding processes; default: cores, up to 8.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Notebooks at once; default: one for each GPU, or up to 4 on a CPU.",
    ),
]


def pairs(settings: list[str] | None) -> dict[str, str]:
    """Name → value of all ``--set name=value``.

    Raises:
        ValueError: no such pair, a name twice, or one that is no setting.

    Example:
        >>> pairs(["batch=8", "trunk = small"])
        {'batch': '8', 'trunk': 'small'}
    """
    found: dict[str, str] = {}
    wrong = []
    for setting in settings or ():
        name, equals, value = (part.strip() for part in setting.partition("="))
        if not (name and equals and value):
            wrong.append(f"--set {setting!r}: expected name=value")
        elif name in ("method", "seed"):  # they also name the run, and its preset
            wrong.append(
                f"--set {setting}: method and seed are no settings of a preset; give "
                f"--{name} where the command has it (table1: --rows, --seed)"
            )
        elif name in found:
            wrong.append(
                f"--set {name}={found[name]} and --set {name}={value}; give each "
                "setting once"
            )
        else:
            found[name] = value
    if wrong:
        raise ValueError("; ".join(wrong))
    return found


def print_metrics(rows: dict[str, dict[str, float]]) -> None:
    """One line for each row: its name and its metrics in percent."""
    for name, metrics in rows.items():
        values = "  ".join(f"{key} {100 * value:.2f}" for key, value in metrics.items())
        print(f"{name:>8}  {values}")


def report_failures(failed: list[str], note: str = "") -> None:
    """Name what failed, by the first line of each text, and end with status 1."""
    names = "".join(f"\n  {text.splitlines()[0]}" for text in failed)
    words = f"qsel: {len(failed)} failed{note}; the reasons stand above:{names}"
    print(words, file=sys.stderr)
    raise typer.Exit(1)
