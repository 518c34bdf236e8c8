"""Choosing settings on held-out training classes, with one budget for every row.

Random search: every row of Table 1 has as many trials, drawn from the same ranges and
from one of its own, that of its margin or scale. R@1 is measured on the held-out
classes after every epoch, and a trial counts by its best one. The test classes are
never looked at.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from tqdm import tqdm

from qsel import metrics
from qsel.data import ZeroShot
from qsel.data.files import written_whole
from qsel.experiments import rows
from qsel.experiments.config import (
    PRESETS,
    RANGES,
    RATE_DIVISORS,
    ROW_SETTINGS,
    Config,
)
from qsel.experiments.network import best_device, embed, prepare
from qsel.experiments.record import RESULTS_VERSION, alone_at, versions, writable
from qsel.experiments.rows import QUADRUPLETS, ROWS
from qsel.experiments.run import Setup, describe, evaluable, untrained
from qsel.experiments.training import TrainingError, train

# Setting → smallest and largest value. Drawn uniformly where it begins at 0, elsewhere
# uniformly in its logarithm.
Space = dict[str, tuple[float, float]]
SPACES: dict[str, Space] = {
    "frozen": {
        "learning_rate": (1e-3, 1),
        "weight_decay": (1e-6, 1e-2),
        "dropout": (0, 0.8),
        "whiten": (0, 0.6),
    },
    "laptop": {
        "learning_rate": (1e-3, 0.3),
        "weight_decay": (1e-6, 1e-2),
        "dropout": (0, 0.5),
    },
    "upper": {
        "learning_rate": (2e-4, 2e-2),
        "trunk_rate": (0.03, 1),
        "weight_decay": (1e-5, 0.1),
        "dropout": (0, 0.6),
    },
}
# Each row's own margin or scale: about two decades around its authors' value.
OWN: dict[str, Space] = {
    "semi_hard": {"margin": (0.02, 2)},
    "lifted_structure": {"margin": (0.1, 10)},
    "n_pairs": {"margin": (2e-4, 2e-2)},  # the weight of its l2 term
    "clustering": {"margin": (0.1, 10)},  # γ
    "triplet_global": {"margin": (0.04, 4)},  # between the means
    "proxy_anchor": {"margin": (4, 128)},  # α
    "multi_similarity": {"margin": (5, 200)},  # β
} | dict.fromkeys(QUADRUPLETS, {"global_weight": (0.03, 30)})  # η
EDGE = 0.1  # of a range


def space(preset_name: str, method: str) -> Space:
    """The ranges that a row's trials are drawn from.

    Rows whose embeddings are not of unit length have larger gradients, and get smaller
    learning rates.

    Raises:
        ValueError: the preset has no space.

    Example:
        >>> space("laptop", "method2")["global_weight"]
        (0.03, 30)
    """
    if preset_name not in SPACES:
        raise ValueError(
            f"preset {preset_name!r} has no search space; expected one of "
            f"{', '.join(SPACES)}"
        )
    found = SPACES[preset_name] | OWN.get(method, {})
    smaller = _divisor(_base(preset_name, method))
    low, high = found["learning_rate"]
    return found | {
        "learning_rate": (_rounded(low / smaller), _rounded(high / smaller))
    }


def trial(
    number: int, preset_name: str, method: str, ranges: Space | None = None
) -> dict[str, float]:
    """The settings of a row's trial: trial 0 is the preset, all others are drawn.

    A draw depends on nothing but the trial's number, the setting's name and its range:
    more trials continue the same sequence, and rows with the same ranges draw the same.

    Args:
        number: of the trial, from 0.
        preset_name: which the trial changes.
        method: the row.
        ranges: other ones than ``space`` has.

    Example:
        >>> trial(0, "laptop", "method2")["learning_rate"]
        0.1
        >>> trial(1, "laptop", "method1") == trial(1, "laptop", "method2")
        True
    """
    ranges = space(preset_name, method) if ranges is None else ranges
    if number == 0:
        base = _base(preset_name, method)
        rate = _rounded(base.learning_rate / _divisor(base))
        values = base.to_dict() | {"learning_rate": rate}
        return {name: values[name] for name in ranges}
    drawn = {}
    for name, (low, high) in ranges.items():
        share = Random(f"{number} {name}").random()
        value = share * high if low == 0 else low * (high / low) ** share
        drawn[name] = _rounded(value)
    return drawn


def _base(preset_name: str, method: str) -> Config:
    """The preset without what an earlier search has chosen."""
    own = ROW_SETTINGS.get(method, {})
    return Config(**(PRESETS[preset_name] | own | {"method": method}))


def _divisor(base: Config) -> float:
    longer = not base.normalise and base.optimiser == "sgd"
    return RATE_DIVISORS.get(base.method, 1) if longer else 1


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def checked_ranges(
    preset_name: str,
    out: Path,
    methods: Sequence[str],
    settings: Mapping[str, object],
    wider: Space,
) -> dict[str, Space]:
    """The ranges of each row of a search that can be made; said before data is loaded.

    Settings that all trials share are not drawn.

    Raises:
        ValueError: no such row, preset or setting, a range that cannot be searched, or
            a file that cannot be written or holds no search.
    """
    if unknown := sorted(set(methods) - set(ROWS)):
        raise ValueError(f"no row {unknown[0]!r} to tune; expected {', '.join(ROWS)}")
    found = {
        method: {
            n: r for n, r in space(preset_name, method).items() if n not in settings
        }
        for method in methods
    }
    for name, (low, high) in wider.items():
        searched = dict.fromkeys(n for ranges in found.values() for n in ranges)
        if name not in searched or not 0 <= low < high:
            raise ValueError(
                f"the range {low:g} to {high:g} of {name!r}: expected two numbers from "
                f"0 on, the smaller one first, and one of {', '.join(searched)}"
            )
    for method, ranges in found.items():
        found[method] = _union(ranges, {n: r for n, r in wider.items() if n in ranges})
        for end in (0, 1):
            ends = {name: values[end] for name, values in found[method].items()}
            _base(preset_name, method).with_settings({**settings, **ends})
    if out.is_dir():
        raise ValueError(f"{out} is a folder; give a file for the search with --out")
    writable(out.parent)
    _held(out, {})
    return found


def _union(one: Space, other: Mapping[str, Sequence[float]]) -> Space:
    both = {n: (*one.get(n, ()), *other.get(n, ())) for n in {**one, **other}}
    return {name: (min(values), max(values)) for name, values in both.items()}


def tune(
    data: ZeroShot,
    preset_name: str,
    out: Path,
    methods: Sequence[str],
    count: int = 20,
    settings: Mapping[str, object] | None = None,
    wider: Space | None = None,
    take: Sequence[Path] = (),
) -> dict:
    """Run the trials of every row on held-out training classes.

    The file is written after each trial, and trials that it holds are not repeated.

    Args:
        data: ``test`` holds the held-out training classes, ``train`` the others; see
            ``qsel.data.validation_of``.
        preset_name: the preset that the trials change.
        out: JSON file of the search.
        methods: the rows to tune.
        count: trials of each row.
        settings: changes to the preset that all trials share.
        wider: ranges for the trials that are still to come. They never narrow those of
            the file, and hold for it from then on.
        take: other files of the same search, such as of other rows, whose trials are
            taken over.

    Returns:
        The search as the file holds it: "start", the R@1 of the untrained trunk;
        "runs", each with the R@1 after every epoch; "chosen", the best setting of each
        row; "shared", see ``shared``; "ranges"; and what it was made with.

    Raises:
        ValueError: a file holds another search, another program is writing it, the
            held-out part is too small for the metrics, or see ``checked_ranges``.
    """
    settings = dict(settings or {})
    ranges = checked_ranges(preset_name, out, methods, settings, wider or {})
    evaluable(data.test)
    search = {
        "data": describe(data),
        "held out": list(data.test.hierarchy.fine_names),
        "how": list(data.notes),
        "preset": preset_name,
        "shared settings": settings,
        "results version": RESULTS_VERSION,
    }
    with alone_at(out, out.with_name(f"{out.name}.lock")):
        runs, start = {}, None
        for file in (out, *take):
            held = _held(file, search, needed=file is not out)
            start = start or held.get("start")
            for run in held.get("runs", ()):
                runs.setdefault((run["method"], run["trial"]), run)
            for method, earlier in held.get("ranges", {}).items():
                ranges[method] = _union(ranges.get(method, {}), earlier)
        config = _base(preset_name, "start").with_settings(settings)
        start = start or _recall(
            untrained(Setup(data, "", preset_name, config), best_device()), data
        )
        search |= {"start": start, "versions": versions()}
        todo = [(m, k) for k in range(count) for m in methods if (m, k) not in runs]
        found = _written(out, search, ranges, [*runs.values()])
        for method, number in tqdm(todo, desc="trials", unit="run"):
            drawn = trial(number, preset_name, method, ranges[method])
            config = _base(preset_name, method).with_settings({**settings, **drawn})
            run = {"method": method, "trial": number, "settings": drawn}
            run |= _result(data, config)
            if run["score"] < start:
                run["below untrained"] = True
                tqdm.write(
                    f"{method}, trial {number}: {run.get('failed', 'trained')}; R@1 "
                    f"{run['score']:.2%} is below untrained features' {start:.2%}",
                    file=sys.stderr,
                )
            runs[method, number] = run
            found = _written(out, search, ranges, [*runs.values()])
    return found


def _result(data: ZeroShot, config: Config) -> dict[str, object]:
    *_, held_out = prepare(data, config, best_device())
    reached: list[float] = []

    def measure(epoch: int, model: nn.Module) -> None:
        embeddings = embed(model, held_out, kind=config.precision)
        reached.append(_recall(rows.comparable(embeddings, config.method), data))

    try:
        train(data, config, after_epoch=measure)
    except (TrainingError, ValueError) as error:  # it loses, but is told
        if not isinstance(error, TrainingError) and "NaN or infinite" not in str(error):
            raise
        return {"R@1": reached, "failed": str(error), "score": 0.0}
    best = max(range(len(reached)), key=reached.__getitem__)
    return {"R@1": reached, "best epoch": best + 1, "score": reached[best]}


def _recall(embeddings: Tensor, data: ZeroShot) -> float:
    labels = data.test.hierarchy.fine
    return metrics.retrieval(embeddings, labels, ks=(1,))["R@1"]


def _written(out: Path, search: dict, ranges: dict, runs: list[dict]) -> dict:
    found = search | {"date": datetime.now(UTC).date().isoformat(), "ranges": ranges}
    found |= {"chosen": winners(runs), "shared": shared(runs), "runs": runs}
    with written_whole(out) as unfinished:
        unfinished.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _held(file: Path, search: dict, needed: bool = False) -> dict:
    """What a file holds, if it is of this search; nothing if there is none."""
    if not file.exists() and not needed:
        return {}
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        held["runs"], held["ranges"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} holds no search that can be read; choose another file, or remove "
            "it"
        ) from error
    for name, wanted in search.items():
        if held.get(name) != wanted:
            raise ValueError(
                f"{file} holds a search with other {name} ({held.get(name)}, not "
                f"{wanted}); choose another file, or remove it"
            )
    return held


def winners(runs: Sequence[dict]) -> dict[str, dict[str, float]]:
    """Each row's own best setting; "last_epoch" is the epoch at which it was best.

    Args:
        runs: as the search's file holds them.
    """
    best: dict[str, dict] = {}
    for run in (run for run in runs if "failed" not in run):
        if run["score"] > best.get(run["method"], {"score": -1})["score"]:
            best[run["method"]] = run
    return {m: r["settings"] | {"last_epoch": r["best epoch"]} for m, r in best.items()}


def shared(runs: Sequence[dict]) -> dict[str, float]:
    """The one setting, and the epoch, with the best mean R@1 of the quadruplet rows.

    Empty where no trial has been run with all four.
    """
    curves: dict[str, dict[str, list[float]]] = {}
    for run in (run for run in runs if "failed" not in run):
        if run["method"] in QUADRUPLETS:
            same = curves.setdefault(json.dumps(run["settings"]), {})
            same[run["method"]] = run["R@1"]
    means = {
        (settings, epoch): sum(reached)
        for settings, of in curves.items()
        if len(of) == len(QUADRUPLETS)
        for epoch, reached in enumerate(zip(*of.values(), strict=True), start=1)
    }
    if not means:
        return {}
    settings, epoch = max(means, key=means.get)
    return json.loads(settings) | {"last_epoch": epoch}


def at_edge(
    chosen: Mapping[str, Mapping[str, float]], ranges: Mapping[str, Space]
) -> dict[str, dict[str, str]]:
    """Winners within a tenth of an end of their range: row → setting → which end.

    An end that the setting cannot go beyond, such as a dropout of 0, is none.

    Example:
        >>> at_edge({"random": {"margin": 0.9}}, {"random": {"margin": (0.01, 1)}})
        {'random': {'margin': 'largest'}}
    """
    found: dict[str, dict[str, str]] = {}
    for method, settings in chosen.items():
        for name, (low, high) in ranges.get(method, {}).items():
            value, (least, most) = settings.get(name), RANGES[name]
            if value is None:
                continue
            if low == 0:
                share = value / high
            else:
                x = torch.tensor([low, value, high], dtype=torch.float64).log()
                share = float((x[1] - x[0]) / (x[2] - x[0]))
            if share < EDGE and low > least:
                found.setdefault(method, {})[name] = "smallest"
            elif share > 1 - EDGE and high < most:
                found.setdefault(method, {})[name] = "largest"
    return found
