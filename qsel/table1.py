"""Table 1: the paper's rows as quoted, this package's runs beside them."""

import os
from pathlib import Path

import pandas as pd
from scipy.stats import t as student_t

from qsel import data as datasets
from qsel.config import preset
from qsel.experiment import Setup, run
from qsel.runs import Record, RunError

METRICS = ("R@1", "R@2", "R@4", "R@8", "NMI")  # the paper's columns
# The rows that are re-run; the third from the top is not in the paper.
METHODS = {
    "random": "Random Quadruplet Selection",
    "hardest_negative": "Hardest negative, random positives",
    "method1": "Proposed Method 1",
    "method2": "Proposed Method 2",
}
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
RECORDED = "stanford_cars-parts=train/frozen"  # below results/
# What the paper claims, and what the control decides.
COMPARISONS = (
    ("method2", "method1"),
    ("method1", "random"),
    ("method2", "random"),
    ("method2", "hardest_negative"),
    ("method1", "hardest_negative"),
)
# Runs of each row. Smoke only shows that everything runs; laptop has to stay within
# minutes.
SEEDS = {"smoke": 2, "laptop": 3, "frozen": 5, "paper": 5}


def run_folder(
    runs: str | Path, source: str, preset_name: str, method: str, seed: int
) -> Path:
    """Where one run of the table lies.

    Example:
        >>> run_folder("runs", "synthcars", "laptop", "random", 3).as_posix()
        'runs/synthcars/laptop/random-seed3'
    """
    name = datasets.source_name(source).replace("?", "-").replace("&", "-")
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
        preset_name: the preset to start from.
        method: the row.
        seed: which of its runs.
        runs: the folder that holds all runs.
        settings: changes to the preset.
        workers: processes that decode image files; by default one for each core, 8 at
            most. Their number changes no result.

    Returns:
        What was asked for, the record, and the folder that holds it and the network.
    """
    config = preset(preset_name, method).with_settings(
        {**(settings or {}), "seed": seed}
    )
    if workers is None:
        workers = min(os.cpu_count() or 1, 8)
    setup = Setup(
        datasets.load(source), datasets.source_name(source), preset_name, config
    )
    folder = run_folder(runs, source, preset_name, method, seed)
    return setup, run(setup, folder, workers=workers), folder


def gather(folder: str | Path) -> pd.DataFrame:
    """All run records below a folder, one row a run, metrics in percent.

    Raises:
        RunError: a file that is no record; the same row and seed twice, as when the
            folder holds runs of several presets or data sets; runs of different
            versions of the code, or on different images.

    Columns: method, seed, the metrics, MAP@R, "NMI sd" (over k-means seeds), R@1 of
    the network's starting point, seconds of training, and the command.
    """
    rows = []
    origin: dict[tuple, Path] = {}
    for path in sorted(Path(folder).rglob("record.json")):
        record = Record.load(path)
        made_of = (record.versions.get("source"), str(record.data))
        origin.setdefault(made_of, path.parent)
        if len(origin) > 1:
            one, other = origin.values()
            raise RunError(
                f"{one} and {other} are runs of different versions of the code, or on "
                "different images, and do not compare; remove the older one"
            )
        metrics = {name: 100 * value for name, value in record.metrics.items()}
        rows.append(
            {
                "method": record.config["method"],
                "seed": record.config["seed"],
                **metrics,
                "start R@1": 100 * record.baseline["R@1"],
                "seconds": record.seconds["training"],
                "command": record.command,
            }
        )
    frame = pd.DataFrame(rows)
    if rows:
        twice = frame[frame.duplicated(["method", "seed"])]
        if len(twice):
            method, seed = twice.iloc[0][["method", "seed"]]
            raise RunError(
                f"{folder} holds several runs of {method}, seed {seed}; name the "
                "folder of one data set and one preset"
            )
        order = {method: i for i, method in enumerate(METHODS)}
        frame = frame.sort_values(["method", "seed"], key=lambda c: c.replace(order))
    return frame.reset_index(drop=True)


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """The re-run rows: "mean ± sd" over seeds of each metric, in percent."""
    columns = [*METRICS, "MAP@R"]
    rows = {}
    for method, name in METHODS.items():
        of_row = runs[runs.method == method] if len(runs) else runs
        rows[name] = {"runs": len(of_row)} | {
            column: spread(of_row[column]) if len(of_row) else "not run"
            for column in columns
        }
    return pd.DataFrame(rows).T.rename_axis("method")


def beside(
    runs: pd.DataFrame, metrics: tuple[str, ...] = ("R@1", "NMI")
) -> pd.DataFrame:
    """Every row of the paper's Table 1 as quoted, and beside it as re-run, in percent.

    Rows that are not the paper's come last and have nothing quoted.

    Example:
        >>> beside(gather("no runs here"), ("R@1",)).loc["N-Pairs"].tolist()
        ['53.90', 'not re-run']
    """
    rerun = summary(runs)
    rows = {}
    for name in dict.fromkeys([*QUOTED, *METHODS.values()]):
        quoted = dict(zip(METRICS, QUOTED.get(name, ()), strict=False))
        rows[name] = {}
        for metric in metrics:
            given = f"{quoted[metric]:.2f}" if quoted else "not in the paper"
            here = rerun[metric].get(name, "not re-run")
            rows[name] |= {f"{metric} quoted": given, f"{metric} here": here}
    return pd.DataFrame(rows).T


def spread(values: pd.Series) -> str:
    """The mean of some runs, and their standard deviation if there are several.

    Example:
        >>> spread(pd.Series([1.0, 3.0])), spread(pd.Series([2.0]))
        ('2.00 ± 1.41', '2.00')
    """
    mean = f"{values.mean():.2f}"
    return f"{mean} ± {values.std():.2f}" if len(values) > 1 else mean


def paired(runs: pd.DataFrame, a: str, b: str, metric: str = "R@1") -> pd.Series:
    """How far method a is ahead of method b, seed by seed, in percentage points.

    Both rows of a seed start from the same weights and see the references in the same
    order, so their difference varies less than either.

    Example:
        >>> runs = pd.DataFrame({"method": ["method1", "method2"] * 2,
        ...                      "seed": [0, 0, 1, 1], "R@1": [1.0, 2.0, 2.0, 5.0]})
        >>> paired(runs, "method2", "method1").tolist()
        [1.0, 3.0]
    """
    if not len(runs):
        return pd.Series(dtype=float)
    table = runs.pivot(index="seed", columns="method", values=metric)
    table = table.reindex(columns=[a, b])  # a row that was not run is empty
    return (table[a] - table[b]).dropna()


def verdict(runs: pd.DataFrame, a: str, b: str, metric: str = "R@1") -> str:
    """A sentence on two rows that says no more than the runs show.

    A row is called ahead where the interval of a paired t-test (95 %) over the seeds
    leaves out zero; where it does not, the rows are called level.

    Example:
        >>> runs = pd.DataFrame({"method": ["random", "method2"] * 3,
        ...                      "seed": [0, 0, 1, 1, 2, 2],
        ...                      "R@1": [40.0, 49.0, 40.5, 49.2, 39.8, 49.1]})
        >>> verdict(runs, "method2", "random")
        'Proposed Method 2 is ahead of Random Quadruplet Selection in R@1 by 9.00 \
points (95 % interval 8.25 to 9.75, 3 seeds).'
    """
    gap = paired(runs, a, b, metric)
    if len(gap) < 2:
        return (
            f"{METHODS[a]} and {METHODS[b]}: {len(gap)} common seeds, too few to tell."
        )
    if gap.mean() < 0:
        a, b, gap = b, a, -gap
    mean = gap.mean()
    half = student_t.ppf(0.975, len(gap) - 1) * gap.std() / len(gap) ** 0.5
    interval = f"95 % interval {mean - half:.2f} to {mean + half:.2f}, {len(gap)} seeds"
    if mean > half:
        return (
            f"{METHODS[a]} is ahead of {METHODS[b]} in {metric} by {mean:.2f} points "
            f"({interval})."
        )
    return (
        f"{METHODS[a]} and {METHODS[b]} are level in {metric}: a difference of "
        f"{mean:.2f} points ({interval})."
    )


def recorded() -> Path:
    """The folder of the recorded runs on photographs, from the root or a notebook."""
    for root in (Path(), Path("..")):
        if (found := root / "results" / RECORDED).is_dir():
            return found
    raise FileNotFoundError(
        f"no results/{RECORDED} here or one folder up; run from the repository's root "
        "or its notebooks folder"
    )


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
