"""The command line; `qsel --help` lists the commands."""

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from qsel.cli import book as commands
from qsel.cli.data import data_command
from qsel.cli.evaluate import evaluate
from qsel.cli.options import (
    Data,
    Jobs,
    Method,
    Preset,
    Rule,
    Settings,
    Workers,
    pairs,
    print_metrics,
    report_failures,
)
from qsel.cli.runs import repeat

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Quadruplet selection for deep embedding learning (Karaman et al., ICIP 2019)."
    "\n\nA first run: `qsel data`, then `qsel train --preset smoke --out runs/first`.",
)

app.command("data")(data_command)


@app.command()
def train(
    data: Data = "synthcars",
    method: Method = "method2",
    preset: Preset = "laptop",
    seed: Annotated[
        int, typer.Option(min=0, help="On a CPU the same seed gives the same run.")
    ] = 0,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the record and the trained network; by default one "
            "below runs/single, named after data, preset, method and seed."
        ),
    ] = None,
    workers: Workers = None,
) -> None:
    """Train one network and record the run.

    A finished run is not repeated; an interrupted one goes on from its last epoch. To
    start anew, remove its folder.

    Under torchrun its processes train together: `torchrun --nproc-per-node 4 -m qsel
    train …`.

    Example: `qsel train --method method1 --preset laptop --seed 1 --out runs/m1-s1`
    """
    from contextlib import ExitStack

    from qsel.book.jobs import stoppable
    from qsel.data import load, source_name
    from qsel.experiments import config, distributed
    from qsel.experiments import run as experiment
    from qsel.experiments import table1 as table
    from qsel.experiments.record import alone_at, writable

    out = out or table.run_folder("runs/single", data, preset, method, seed)
    wanted = config.preset(preset, method).with_settings(
        {**pairs(settings), "seed": seed}
    )
    with ExitStack() as held:
        held.enter_context(stoppable("the same command goes on from the last epoch"))
        processes = held.enter_context(distributed.joined())
        leads = processes.rank == 0
        with processes.first():  # it fills the caches that the others read
            if leads:
                writable(out)
            loaded = load(data)
            if leads:
                held.enter_context(alone_at(out, out / "lock"))
        setup = experiment.Setup(loaded, source_name(data), preset, wanted)
        record = experiment.run(setup, out, workers=workers, processes=processes)
    if leads:
        print_metrics({"trained": record.metrics})
        print(f"record: {out / 'record.json'}")


app.command()(evaluate)


@app.command()
def select(
    source: Annotated[
        Path,
        typer.Argument(
            help=".npz with arrays embeddings (N, D), fine (N,), coarse (N,); or "
            ".parquet with columns embedding (lists), fine, coarse. Labels may be "
            "numbers or names."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="File for the quadruplets: .csv, .parquet or .npz."),
    ],
    method: Rule = "method2",
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")] = 0,
) -> None:
    """Select a quadruplet for every usable reference of your own embeddings.

    Example: `qsel select embeddings.npz --method method1 --out quadruplets.csv`
    """
    from qsel.data.embeddings import select_from_file

    count, unused = select_from_file(source, out, method, seed)
    print(
        f"{count:,} quadruplets in {out}; {unused:,} samples can never be a reference"
    )


@app.command()
def table1(
    data: Data = "synthcars",
    preset: Preset = "laptop",
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Runs of each row; default: the preset's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="This seed alone, instead of --seeds.")
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(help="Only these, as in 'random,method2'; default: all."),
    ] = None,
    runs: Annotated[str, typer.Option(help="Folder that holds all runs.")] = "runs",
    jobs: Jobs = None,
    settings: Settings = None,
) -> None:
    """Run every row of Table 1 with every seed, and print the table.

    Each run is one execution of notebooks/table1_run.ipynb. Finished ones are kept, an
    interrupted one goes on from its last epoch. The exit status is 1 if a run failed;
    the others are done all the same.

    Example: `qsel table1 --data stanford_cars --preset frozen --set trunk=resnet50`
    """
    from qsel.book import execute
    from qsel.book.jobs import stoppable
    from qsel.experiments import table1 as table

    if seed is not None and seeds is not None:
        raise ValueError(f"--seed {seed} and --seeds {seeds}; give one of them")
    with stoppable("the same command goes on from the last epoch of each run"):
        failed = execute.run_table(
            Path.cwd(),
            preset,
            data,
            runs,
            seeds=[seed] if seed is not None else range(seeds) if seeds else None,
            rows=None if rows is None else rows.replace(" ", "").split(","),
            settings=pairs(settings),
            at_once=jobs,
        )
    folder = table.run_folder(runs, data, preset, "random", 0).parent
    print(table.summary(table.gather(folder)).to_string())
    if failed:
        report_failures(failed)


@app.command()
def ablations(
    data: Data = "synthcars",
    preset: Preset = "laptop",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row.")] = 3,
    names: Annotated[
        str | None,
        typer.Option(help="Only these, as in 'no_global,body9'; default: all."),
    ] = None,
    runs: Annotated[str, typer.Option(help="Folder that holds all runs.")] = "runs",
    settings: Settings = None,
    workers: Workers = None,
) -> None:
    """Change one decision at a time, and run the rows that it affects.

    They are compared with the table's own runs of the same preset, which `qsel table1`
    makes. All names stand in qsel/experiments/switches.py. Finished runs are kept.

    Example: `qsel ablations --names fallback_nearest,siblings_all --preset laptop`
    """
    from qsel.book.jobs import stoppable
    from qsel.experiments import ablations as switches
    from qsel.experiments import table1 as table

    chosen = None if names is None else names.replace(" ", "").split(",")
    with stoppable("the same command goes on from the last epoch"):
        switches.run(data, preset, runs, seeds, chosen, pairs(settings), workers)
    base = table.run_folder(runs, data, preset, "random", 0).parent
    found = switches.gather(f"{base}-ablations", table.gather(base))
    changes = [f"{metric} change" for metric in ("R@1", "NMI", "MAP@R")]
    mean = found.groupby(["ablation", "method"], sort=False)[changes].mean()
    print(mean.round(2).to_string())


@app.command()
def tune(
    out: Annotated[Path, typer.Option(help="JSON file of trials and winners.")],
    data: Data = "synthcars",
    preset: Preset = "laptop",
    trials: Annotated[
        int, typer.Option(min=1, help="Trials of each row; the first is the preset.")
    ] = 20,
    rows: Annotated[
        list[str] | None, typer.Option("--row", help="Only these rows; default: all.")
    ] = None,
    settings: Settings = None,
    take: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, help="Another file of this search, to take its trials over."
        ),
    ] = None,
) -> None:
    """Choose settings on held-out training classes, one budget for every row.

    Stopped, the same command goes on. To share the work, run some rows in another
    shell with another `--out`, and join the files by `--take`.

    Example: `qsel tune --preset laptop --out results/tuning/laptop.json`
    """
    from qsel.book.jobs import stoppable
    from qsel.data import validation_of
    from qsel.data.files import check_output
    from qsel.experiments import tuning
    from qsel.experiments.rows import ROWS
    from qsel.experiments.winners import at_edge

    check_output(out)  # what is wrong with the call is said before the data is read
    asked, shared = rows or list(ROWS), pairs(settings)
    tuning.check(preset, out, asked, shared)
    with stoppable("the same command goes on from the last trial"):
        split = validation_of(data)
        print(*split.notes, sep="\n")
        search = tuning.tune(split, preset, out, asked, trials, shared, take or ())
    print(f"untrained features: R@1 {search['start']:.2%}")
    chosen = search["chosen"]
    if search["shared"]:
        chosen |= {"shared": search["shared"]}
    for name, found in chosen.items():
        print(f"{name}: {found}")
    spaces = search["ranges"] | {"shared": search["ranges"].get("method2", {})}
    for name, ends in at_edge(chosen, spaces).items():
        for setting, end in ends.items():
            low, high = spaces[name][setting]
            print(
                f"warning: {name} won with {setting}={chosen[name][setting]:g}, near "
                f"the {end} of {low:g} to {high:g}; widen this range in "
                "qsel/experiments/tuning.py and go on with more --trials"
            )


for command in (repeat, commands.book, commands.colab, commands.exercises):
    app.command()(command)


def main() -> None:
    """Run the command line; a mistake in the input is one sentence, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # letters that a terminal lacks
    try:
        if "" in sys.argv[1:]:
            raise ValueError("an argument is empty; give a value or leave it out")
        app()
    except ModuleNotFoundError as error:
        print(
            f"qsel: the package {error.name} is missing; pip install "
            "'qsel[book,faiss]' brings all that any command needs",
            file=sys.stderr,
        )
        sys.exit(2)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"qsel: {error}", file=sys.stderr)
        sys.exit(2)
