"""Ablations: what changes when one decision is taken otherwise.

Most decisions are readings of a passage that the paper leaves open (`book/errata.md`);
the others ask where a result comes from. Each is run with the settings that its row was
tuned to, changed in one thing, and compared with that row's own runs, seed by seed.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from qsel import data as datasets
from qsel.experiments import run as experiment
from qsel.experiments import table1
from qsel.experiments.config import preset
from qsel.experiments.record import RunError, alone_at, writable
from qsel.experiments.switches import SWITCHES
from qsel.experiments.tuned import SHARED

RECORDED = f"{table1.RECORDED}-ablations"  # below results/
# SynthCars, the four rows with quadruplets at one setting.
RECORDED_ALIKE = f"{table1.RECORDED_SYNTHCARS}-ablations/same_settings"
SEEDS = 3


@dataclass(frozen=True)
class Job:
    """One row of one ablation: what to run, for every seed."""

    ablation: str
    method: str
    source: str
    settings: dict[str, object]


def jobs(
    source: str,
    preset_name: str,
    names: Sequence[str] | None = None,
    settings: Mapping[str, object] | None = None,
) -> list[Job]:
    """Every row of every ablation, with its settings and its data source.

    Args:
        source: as for ``qsel.data.load``.
        preset_name: whose tuned settings are changed.
        names: of ``SWITCHES``; by default all that change something in this preset.
        settings: changes to the preset that all share, the rows' own runs too.

    Raises:
        ValueError: no ablation of that name, or a setting that the preset refuses.

    Example:
        >>> jobs("cars", "frozen", ["body9"])[0].source
        'cars?coarse=body9'
    """
    asked = list(SWITCHES) if names is None else names
    if unknown := [name for name in asked if name not in SWITCHES]:
        raise ValueError(
            f"no ablation {unknown[0]!r}; expected some of {', '.join(SWITCHES)}"
        )
    found = []
    for name in asked:
        switch = SWITCHES[name]
        for method in switch.rows:
            base = preset(preset_name, method).with_settings(settings or {})
            changed = switch.changed(base)
            if switch.shared:
                changed = SHARED.get(preset_name, {}) | changed
            try:  # a mistake is told before the first run
                other = base.with_settings(changed)
            except ValueError as error:
                raise ValueError(
                    f"ablation {name} does not fit preset {preset_name} ({error}); "
                    "leave it out with --names"
                ) from error
            if names is None and other == base and not switch.options:
                continue
            wanted = {**(settings or {}), **changed}
            of_data = with_options(source, switch.options)
            found.append(Job(name, method, of_data, wanted))
    return found


def with_options(source: str, options: Mapping[str, str]) -> str:
    """A data source with options added.

    Example:
        >>> with_options("cars?parts=train", {"coarse": "body9"})
        'cars?parts=train&coarse=body9'
    """
    for name, value in options.items():
        source += f"{'&' if '?' in source else '?'}{name}={value}"
    return source


def run_folder(
    runs: str | Path,
    source: str,
    preset_name: str,
    ablation: str,
    method: str,
    seed: int,
) -> Path:
    """Where one run of an ablation lies, beside the table's own runs.

    Example:
        >>> run_folder("runs", "cars", "frozen", "no_global", "method2", 0).as_posix()
        'runs/cars/frozen-ablations/no_global/method2-seed0'
    """
    beside = f"{preset_name}-ablations"
    folder = table1.run_folder(runs, source, beside, method, seed)
    return folder.parent / ablation / folder.name


def run(
    source: str,
    preset_name: str,
    runs: str | Path,
    seeds: int = SEEDS,
    names: Sequence[str] | None = None,
    settings: Mapping[str, object] | None = None,
    workers: int | None = None,
) -> None:
    """Run what is missing; what is done is kept. One failure does not stop the others.

    Args:
        source: as for ``qsel.data.load``.
        preset_name: whose tuned settings are changed.
        runs: the folder that holds all runs.
        seeds: runs of each row: seeds 0, 1, …
        names: of ``SWITCHES``; by default all.
        settings: changes to the preset that all runs share.
        workers: processes that decode image files, see
            ``qsel.experiments.inputs.Images``.

    Raises:
        ValueError: see ``jobs``, or a data set without the options asked of it.
        RunError: some runs failed; each is printed when it fails, the others are done,
            and all failures are named. Or the folder cannot be written to, or the test
            part is too small for the metrics.
    """
    load = cache(datasets.load)
    todo = jobs(source, preset_name, names, settings)
    writable(table1.run_folder(runs, source, preset_name, "random", 0), "--runs")
    for asked in {job.source for job in todo}:
        experiment.evaluable(load(asked).test)
    failed = []
    each = [(seed, job) for seed in range(seeds) for job in todo]
    for seed, job in tqdm(each, desc="ablations", unit="run"):
        wanted = table1.setup(
            load(job.source), job.source, preset_name, job.method, seed, job.settings
        )
        folder = run_folder(runs, source, preset_name, job.ablation, job.method, seed)
        try:
            with alone_at(folder, folder / "lock"):
                experiment.run(wanted, folder, workers=workers)
        except (ValueError, RuntimeError) as error:
            failed.append(f"{job.ablation}, {job.method}, seed {seed}: {error}")
            tqdm.write(f"failed: {failed[-1]}", file=sys.stderr)
    if failed:
        raise RunError("\n".join(failed))


def gather(folder: str | Path, base: pd.DataFrame) -> pd.DataFrame:
    """All recorded ablations below a folder, beside the table's own runs.

    Args:
        folder: that holds one folder for each ablation.
        base: the table's own runs, as ``qsel.experiments.table1.gather`` has them.

    Returns:
        The columns of ``qsel.experiments.table1.gather``, with the ablation's name in
        front, and for each metric its change from the same row's own run of that seed,
        in
        percentage points: "R@1 change"; missing where the table has no such run.

    Raises:
        RunError: a folder that is no ablation of this list, runs of another results
            version than the table's, or what ``qsel.experiments.table1.gather``
            refuses.
    """
    found = []
    for place in sorted(path for path in Path(folder).glob("*") if path.is_dir()):
        if place.name not in SWITCHES:
            raise RunError(
                f"{place} is no ablation of this version; it has {', '.join(SWITCHES)}"
            )
        runs = table1.gather(place)
        if len(runs) and len(base) and {*runs.results} != {*base.results}:
            raise RunError(
                f"{place} and the table are runs of different results versions, and do "
                "not compare; run the older ones again"
            )
        found.append(runs.assign(ablation=place.name))
    found = [runs for runs in found if len(runs)]
    if not found:
        return pd.DataFrame()
    frame = pd.concat(found, ignore_index=True)
    order = {name: i for i, name in enumerate(SWITCHES)}
    frame = frame.sort_values("ablation", key=lambda c: c.map(order), kind="stable")
    own = base.set_index(["method", "seed"]) if len(base) else pd.DataFrame()
    keys = pd.MultiIndex.from_frame(frame[["method", "seed"]])
    for metric in table1.MEASURED:
        of_base = own[metric].reindex(keys).to_numpy() if len(own) else float("nan")
        frame[f"{metric} change"] = frame[metric] - of_base
    columns = ["ablation", *frame.columns.drop("ablation")]
    return frame[columns].reset_index(drop=True)


def shown(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """The (ablation, row) pairs that were run, in the list's order."""
    if not len(runs):
        return []
    return list(dict.fromkeys(zip(runs.ablation, runs.method, strict=True)))
