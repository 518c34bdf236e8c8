"""Commands that work on recorded runs."""

from pathlib import Path
from typing import Annotated

import typer


def repeat(
    record: Annotated[Path, typer.Argument(help="A run's record.json.")],
    data: Annotated[
        str | None, typer.Option(help="Where its images are, if in a folder.")
    ] = None,
) -> None:
    """Run a record's command again, and compare the metrics with the recorded ones.

    They have to be equal with the same packages on the same kind of processor, and
    within 3 points elsewhere; the exit status is 2 if they are not.

    Example: `qsel repeat results/smoke/method2-seed0/record.json`
    """
    from qsel.book.jobs import stoppable
    from qsel.experiments import run as experiment
    from qsel.experiments.record import Record

    with stoppable("nothing was written"):
        again = experiment.repeat(record, data)
    for name, metrics in (
        ("recorded", Record.load(record).metrics),
        ("again", again.metrics),
    ):
        values = "  ".join(f"{key} {100 * value:.2f}" for key, value in metrics.items())
        print(f"{name:>8}  {values}")
