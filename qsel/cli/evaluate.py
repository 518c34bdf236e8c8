"""The command that evaluates a trained network."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsel.cli.options import Data, Settings, Workers, pairs, print_metrics

if TYPE_CHECKING:
    from qsel.data import ZeroShot
    from qsel.experiments.config import Config
    from qsel.experiments.record import Record


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder that `qsel train` wrote.")],
    data: Data | None = None,
    settings: Settings = None,
    workers: Workers = None,
    seen: Annotated[
        bool,
        typer.Option("--seen", help="Report classes that it was trained on as well."),
    ] = False,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Call the function that the record names as its trunk."
        ),
    ] = False,
) -> None:
    """Evaluate a trained network on the unseen classes of a data set.

    A run on SynthCars finds its data by itself; a record holds no folder, so others
    have to be named. The data may be another than it was trained on, if the class
    counts fit.

    Example: `qsel evaluate runs/m1-s1 --data my_photos`
    """
    from qsel.data import load, source_name
    from qsel.experiments import network, trained
    from qsel.experiments.record import Record
    from qsel.experiments.rows import comparable
    from qsel.experiments.run import Setup

    changes = pairs(settings)
    record = Record.load(run / "record.json")
    wanted = _config(record, run, changes)
    if ":" in wanted.trunk and "trunk" not in changes and not trust:
        raise ValueError(
            f"{run / 'record.json'} names the function {wanted.trunk} as its trunk, "
            "and to evaluate is to call it; give --trust if you trust the record and "
            "the function"
        )
    source = data or _source(record, run)
    setup = Setup(load(source), source_name(source), record.preset, wanted)
    warning = _on_trained_classes(record, setup.data)
    if warning and not seen:
        raise ValueError(f"{warning}; give --seen to report them all the same")
    model, _, inputs = trained.load_model(setup, run, workers=workers)
    labels = setup.data.test.hierarchy.fine
    embeddings = network.embed(model, inputs, kind=wanted.precision)
    embeddings = comparable(embeddings, wanted.method)
    print_metrics({"": network.evaluate(embeddings, labels)})
    if warning:
        print(warning)


def _config(record: "Record", run: Path, changes: dict[str, str]) -> "Config":
    from qsel.experiments.config import Config
    from qsel.experiments.record import RunError

    try:
        recorded = Config(**record.config)
    except (TypeError, ValueError) as error:
        raise RunError(
            f"{run / 'record.json'} holds settings that this version cannot read "
            f"({error}); evaluate with the version that trained it"
        ) from error
    return recorded.with_settings(changes)


def _source(record: "Record", run: Path) -> str:
    """What the run was trained on, where its name is enough to find it."""
    words = shlex.split(record.command)
    source = words[words.index("--data") + 1] if "--data" in words[:-1] else ""
    if source.partition("?")[0] != "synthcars":
        raise ValueError(
            f"{run} was trained on {source!r}; give its folder, or another data set, "
            "with --data"
        )
    return source


def _on_trained_classes(record: "Record", data: "ZeroShot") -> str | None:
    """A sentence if the network knows classes that it is to be tested on."""
    tested = {*data.test.hierarchy.fine_names}
    if known := tested & {*record.data.get("trained on", ())}:
        return f"{len(known)} of the {len(tested)} classes to be tested were trained on"
    return None
