"""Commands that work on recorded runs."""

from pathlib import Path
from typing import Annotated

import typer

from qsel.cli.options import print_metrics


def repeat(
    record: Annotated[Path, typer.Argument(help="A run's record.json.")],
    data: Annotated[
        str | None, typer.Option(help="Where its images are, if in a folder.")
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Call the function that the record names as its trunk."
        ),
    ] = False,
) -> None:
    """Run a record's command again, and compare the metrics with the recorded ones.

    They have to be equal with the same packages on the same kind of processor, and
    within 3 points elsewhere; the exit status is 2 if they are not.

    Example: `qsel repeat results/smoke/method2-seed0/record.json`
    """
    from qsel.book.jobs import stoppable
    from qsel.experiments.record import Record
    from qsel.experiments.repeat import repeat as run_again

    with stoppable("nothing was written"):
        again = run_again(record, data, trust)
    recorded = Record.load(record).metrics
    print_metrics({"recorded": recorded, "again": again.metrics})
