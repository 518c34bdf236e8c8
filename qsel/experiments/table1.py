"""Table 1: the paper's rows as quoted, this package's runs beside them."""

import re
from collections.abc import Mapping
from importlib.metadata import metadata
from pathlib import Path

import pandas as pd

from qsel import data as datasets
from qsel.data import ZeroShot
from qsel.experiments.config import preset
from qsel.experiments.record import Record, RunError
from qsel.experiments.rows import TITLES, of_table
from qsel.experiments.run import Setup, run, without_names

METRICS = ("R@1", "R@2", "R@4", "R@8", "NMI")  # the paper's columns
MEASURED = (*METRICS, "MAP@R")
# Table 1 of the paper, in percent, as printed.
QUOTED = {
    "Semi-Hard": (51.54, 63.78, 73.52, 82.41, 55.38),
    "Lifted Structure": (52.98, 65.70, 76.01, 84.27, 56.50),
    "N-Pairs": (53.90, 66.76, 77.75, 86.35, 57.24),
    "Clustering": (58.11, 70.64, 80.27, 87.81, 59.23),
    "Triplet + Global": (61.41, 72.51, 81.75, 88.39, 58.61),
    "Random Quadruplet Selection": (61.49, 73.41, 82.88, 89.92, 54.50),
    "Proposed Method 1": (64.85, 75.59, 83.41, 89.55, 57.32),
    "Proposed Method 2": (66.06, 76.62, 84.84, 90.63, 57.00),
}
# Folders of recorded runs, below results/.
RECORDED = "stanford_cars-parts=train/frozen"
RECORDED_TRAINED = "stanford_cars-parts=train/upper"
RECORDED_SYNTHCARS = "synthcars/laptop"
# Runs of each row. Smoke only shows that everything runs; laptop has to stay within
# minutes.
SEEDS = {"smoke": 2, "laptop": 3, "frozen": 5, "upper": 5, "paper": 5}


def run_folder(
    runs: str | Path, source: str, preset_name: str, method: str, seed: int
) -> Path:
    """Where one run of the table lies.

    Example:
        >>> run_folder("runs", "synthcars", "laptop", "random", 3).as_posix()
        'runs/synthcars/laptop/random-seed3'
    """
    name = re.sub("[?&/]", "-", datasets.source_name(source))
    return Path(runs) / name / preset_name / f"{method}-seed{seed}"


def one_run(
    source: str,
    preset_name: str,
    method: str,
    seed: int,
    runs: str | Path,
    settings: dict[str, object] | None = None,
    workers: int | None = None,
) -> tuple[Setup, Record, Path]:
    """One run of the table, trained now unless it is done already.

    Args:
        source: as for ``qsel.data.load``.
        preset_name, settings: the preset to start from, and changes to it.
        method, seed: the row, and which of its runs.
        runs: the folder that holds all runs.
        workers: see ``qsel.experiments.inputs.Images``.

    Returns:
        What was asked for, the record, and the folder that holds it and the network.
    """
    wanted = setup(datasets.load(source), source, preset_name, method, seed, settings)
    folder = run_folder(runs, source, preset_name, method, seed)
    return wanted, run(wanted, folder, workers=workers), folder


def setup(
    data: ZeroShot,
    source: str,
    preset_name: str,
    method: str,
    seed: int,
    settings: Mapping[str, object] | None = None,
) -> Setup:
    """What is asked for: one row and seed of a preset, on data that is loaded."""
    config = preset(preset_name, method).with_settings(
        {**(settings or {}), "seed": seed}
    )
    return Setup(data, datasets.source_name(source), preset_name, config)


def gather(folder: str | Path) -> pd.DataFrame:
    """All run records below a folder, one row a run, metrics in percent.

    Raises:
        RunError: a file that is no record; the same row and seed twice, as when the
            folder holds runs of several presets or data sets; runs of different
            results versions (``qsel.experiments.record.RESULTS_VERSION``), or on
            different images.

    Columns: method, seed, the metrics, MAP@R, "NMI sd" (over k-means seeds), by_class
    (counts of each unseen class), seconds of training, device, date, results (their
    version), command, and record: where the record lies, from ``results/`` on if it is
    one of the recorded ones.
    """
    rows, origin = [], {}
    for path in sorted(Path(folder).rglob("record.json")):
        record = Record.load(path)
        made_of = (record.versions.get("results"), str(without_names(record.data)))
        origin.setdefault(made_of, path.parent)
        rows.append(
            {
                "method": record.config["method"],
                "seed": record.config["seed"],
                **{name: 100 * value for name, value in record.metrics.items()},
                "by_class": record.by_class,
                "seconds": record.seconds["training"],
                "device": record.device,
                "date": record.date,
                "results": record.versions.get("results"),
                "command": record.command,
                "record": _place(path, Path(folder)),
            }
        )
    if len(origin) > 1:
        one, other, *_ = origin.values()
        raise RunError(
            f"{one} and {other} are runs of different results versions, or on "
            "different images, and do not compare; remove the older one"
        )
    frame = pd.DataFrame(rows, columns=None if rows else ["method", "seed", *MEASURED])
    twice = frame[frame.duplicated(["method", "seed"])]
    if len(twice):
        method, seed = twice.iloc[0][["method", "seed"]]
        raise RunError(
            f"{folder} holds several runs of {method}, seed {seed}; name the folder of "
            "one data set and one preset"
        )
    order = {method: i for i, method in enumerate(TITLES)}
    frame = frame.sort_values(["method", "seed"], key=lambda c: c.replace(order))
    return frame.reset_index(drop=True)


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """All rows as re-run: "mean ± sd" over seeds of each metric, in percent."""
    rows = {}
    for method in of_table(set(runs.method)):
        of_row = runs[runs.method == method]
        rows[TITLES[method]] = {"runs": len(of_row)} | {
            column: spread(of_row[column]) if len(of_row) else "not run"
            for column in MEASURED
        }
    return pd.DataFrame(rows).T.rename_axis("method")


def beside(runs: pd.DataFrame, metrics: tuple[str, ...] = MEASURED) -> pd.DataFrame:
    """Every row as quoted and as re-run, with the difference, command and record.

    A difference is the re-run mean minus the quoted number, in percentage points. The
    command and the record are those of the row's first seed.

    Example:
        >>> page = beside(gather("no runs here"), ("R@1",))
        >>> page.loc["N-Pairs"].tolist()
        ['53.90', 'not run', '–', '–', '–']
    """
    rerun = summary(runs)
    rows = {}
    for method in of_table(set(runs.method)):
        title, of_row = TITLES[method], runs[runs.method == method]
        quoted = dict(zip(METRICS, QUOTED.get(title, ()), strict=False))
        cells = {}
        for metric in metrics:
            number, gap = quoted.get(metric), "–"
            if number is not None and len(of_row):
                gap = f"{of_row[metric].mean() - number:+.2f}"
            cells[f"{metric} quoted"] = "–" if number is None else f"{number:.2f}"
            cells[f"{metric} re-run"] = rerun.loc[title, metric]
            cells[f"{metric} difference"] = gap
        for source in ("command", "record"):
            cells[source] = of_row[source].iloc[0] if len(of_row) else "–"
        rows[title] = cells
    return pd.DataFrame(rows).T.rename_axis("method")


def spread(values: pd.Series) -> str:
    """The mean of some runs, and their standard deviation if there are several.

    Example:
        >>> spread(pd.Series([1.0, 3.0])), spread(pd.Series([2.0]))
        ('2.00 ± 1.41', '2.00')
    """
    mean = f"{values.mean():.2f}"
    return f"{mean} ± {values.std():.2f}" if len(values) > 1 else mean


def recorded(name: str = RECORDED) -> Path:
    """A folder below ``results``, from the root or a notebook; it may be empty.

    Raises:
        FileNotFoundError: no folder ``results`` here or one up.
    """
    for results in (Path("results"), Path("../results")):
        if results.is_dir():
            return results / name
    raise FileNotFoundError(
        "no results folder here or one folder up; run from the repository's root or "
        "its notebooks folder"
    )


def link(record: str) -> str:
    """Where a reader finds a record: its address, if the project has one, or its path.

    Example:
        >>> link("results/synthcars/laptop/random-seed0/record.json").split("/")[-1]
        'record.json'
    """
    for line in metadata("qsel").get_all("Project-URL") or ():
        label, address = line.split(", ", 1)
        if label == "Repository" and record.startswith("results/"):
            return f"{address.rstrip('/')}/blob/main/{record}"
    return record


def _place(path: Path, folder: Path) -> str:
    """A record's path without the machine's folders around it."""
    if "results" in path.parts:
        from_results = path.parts[::-1].index("results") + 1
        return "/".join(path.parts[-from_results:])
    return path.relative_to(folder).as_posix()


def markdown(frame: pd.DataFrame) -> str:
    """A table as Markdown, for the README.

    Example:
        >>> print(markdown(pd.DataFrame({"R@1": ["49.10"]}, index=["Method 2"])))
        | | R@1 |
        |---|---|
        | Method 2 | 49.10 |
    """
    rows = [["", *frame.columns], ["---"] * (1 + len(frame.columns))]
    rows += [[name, *map(str, values)] for name, *values in frame.itertuples()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines).replace("|  |", "| |").replace("| --- ", "|---")
