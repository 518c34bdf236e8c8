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

from torch import Tensor, nn
from tqdm import tqdm

from qsel import metrics
from qsel.data import ZeroShot
from qsel.data.files import written_whole
from qsel.experiments import rows
from qsel.experiments.config import PRESETS, RATE_DIVISORS, ROW_SETTINGS, Config
from qsel.experiments.network import best_device, embed, prepare
from qsel.experiments.record import RESULTS_VERSION, alone_at, versions, writable
from qsel.experiments.row_names import QUADRUPLETS, VARIANTS
from qsel.experiments.rows import ROWS
from qsel.experiments.run import Setup, describe, evaluable, untrained
from qsel.experiments.training import TrainingError, train
from qsel.experiments.winners import shared, winners

# Setting → smallest and largest value, widened where winners lie at an edge. Drawn
# uniformly where it begins at 0, elsewhere uniformly in its logarithm.
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
        "learning_rate": (1e-4, 1e-2),
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
} | dict.fromkeys(QUADRUPLETS + VARIANTS, {"global_weight": (0.03, 30)})  # η


def untuned(preset_name: str, method: str, settings: Mapping = {}) -> Config:
    """A row's preset with some settings, but without what an earlier search chose."""
    own = ROW_SETTINGS.get(method, {}) | {"method": method}
    return Config(**(PRESETS[preset_name] | own)).with_settings(settings)


def space(preset_name: str, method: str, settings: Mapping = {}) -> Space:
    """The ranges that a row's trials are drawn from; what all trials share is not.

    Rows whose embeddings are not of unit length have larger gradients, and get smaller
    learning rates.

    Raises:
        ValueError: the preset has no space.

    Example:
        >>> space("laptop", "method2", {"dropout": 0.5})["global_weight"]
        (0.03, 30)
    """
    if preset_name not in SPACES:
        raise ValueError(
            f"preset {preset_name!r} has no search space; expected one of "
            f"{', '.join(SPACES)}"
        )
    found = SPACES[preset_name] | OWN.get(method, {})
    smaller = _rate_divisor(untuned(preset_name, method, settings))
    found["learning_rate"] = tuple(r / smaller for r in found["learning_rate"])
    return {name: ends for name, ends in found.items() if name not in settings}


def trial(number: int, base: Config, ranges: Space) -> dict[str, float]:
    """The settings of a trial: those of ``base`` in trial 0, in the others drawn.

    A draw depends on nothing but the trial's number, the setting's name and its range:
    more trials continue the same sequence, and rows with the same ranges draw the same.

    Example:
        >>> trial(1, untuned("laptop", "method2"), {"margin": (0.1, 10)})
        {'margin': 0.145}
    """
    if number == 0:
        rate = {"learning_rate": base.learning_rate / _rate_divisor(base)}
        return {name: (base.to_dict() | rate)[name] for name in ranges}
    drawn = {}
    for name, (low, high) in ranges.items():
        share = Random(f"{number} {name}").random()
        value = low * (high / low) ** share if low else high * share
        drawn[name] = float(f"{value:.3g}")
    return drawn


def _rate_divisor(base: Config) -> float:
    longer = not base.normalise and base.optimiser == "sgd"
    return RATE_DIVISORS.get(base.method, 1) if longer else 1


def check(
    preset_name: str, out: Path, methods: Sequence[str], settings: Mapping = {}
) -> None:
    """Check that a search can be made, before any data is loaded.

    Raises:
        ValueError: no such row, preset or setting, or a file that cannot be written or
            holds no search.
    """
    if unknown := sorted(set(methods) - set(ROWS)):
        raise ValueError(f"no row {unknown[0]!r} to tune; expected {', '.join(ROWS)}")
    for method in methods:
        ranges = space(preset_name, method, settings)
        base = untuned(preset_name, method, settings)
        base.with_settings(trial(1, base, ranges))
    if out.is_dir():
        raise ValueError(f"{out} is a folder; give a file for the search with --out")
    writable(out.parent)
    _held(out, {})


def tune(
    data: ZeroShot,
    preset_name: str,
    out: Path,
    methods: Sequence[str],
    count: int = 20,
    settings: Mapping[str, object] = {},
    take: Sequence[Path] = (),
) -> dict:
    """Run the trials of every row on held-out training classes.

    The file is written after each trial, and what it holds is not repeated.

    Args:
        data: ``test`` holds the held-out training classes, ``train`` the others; see
            ``qsel.data.validation_of``.
        preset_name: the preset that the trials change.
        out: JSON file of the search.
        methods: the rows to tune.
        count: trials of each row.
        settings: changes to the preset that all trials share.
        take: other files of the same search, whose trials are taken over.

    Returns:
        What the file holds: "start", the R@1 of the untrained trunk; "runs", each with
        the R@1 after every epoch; "chosen", see ``winners``; "shared"; "ranges"; and
        what it was made with.

    Raises:
        ValueError: a file holds another search, another program is writing it, the
            held-out part is too small for the metrics, or see ``check``.
    """
    check(preset_name, out, methods, settings)
    evaluable(data.test)
    ranges = {m: space(preset_name, m, settings) for m in methods}
    search = {
        "data": describe(data),
        "held out": list(data.test.hierarchy.fine_names),
        "how": list(data.notes),
        "preset": preset_name,
        "shared settings": dict(settings),
        "results version": RESULTS_VERSION,
    }
    with alone_at(out, out.with_name(f"{out.name}.lock")):
        runs, start = {}, None
        for held in (_held(file, search) for file in (out, *take)):
            start = start or held.get("start")
            for run in held.get("runs", ()):
                runs.setdefault((run["method"], run["trial"]), run)
            for method, earlier in held.get("ranges", {}).items():
                own = ranges.setdefault(method, earlier)
                for name, ends in earlier.items():  # the widest: all was searched
                    every = (*ends, *own.get(name, ends))
                    own[name] = (min(every), max(every))
        if start is None:
            config = untuned(preset_name, "start", settings)
            setup = Setup(data, "", preset_name, config)
            start = _recall(untrained(setup, best_device()), data)
        search |= {"start": start, "versions": versions(), "ranges": ranges}
        found = _written(out, search, runs)
        todo = [(m, k) for k in range(count) for m in methods if (m, k) not in runs]
        for method, number in tqdm(todo, desc="trials", unit="run"):
            base = untuned(preset_name, method, settings)
            drawn = trial(number, base, ranges[method])
            run = {"method": method, "trial": number, "settings": drawn}
            runs[method, number] = run | _result(data, base.with_settings(drawn), start)
            found = _written(out, search, runs)
    return found


def _result(data: ZeroShot, config: Config, start: float) -> dict[str, object]:
    """R@1 after each epoch, and what a trial counts by; logged if below ``start``."""
    *_, held_out = prepare(data, config, best_device())
    reached: list[float] = []

    def measure(epoch: int, model: nn.Module) -> None:
        embeddings = embed(model, held_out, kind=config.precision)
        reached.append(_recall(rows.comparable(embeddings, config.method), data))

    try:
        train(data, config, after_epoch=measure)
        best = max(range(len(reached)), key=reached.__getitem__)
        found = {"R@1": reached, "best epoch": best + 1, "score": reached[best]}
    except (TrainingError, ValueError) as error:  # it loses, but is told
        if not isinstance(error, TrainingError) and "NaN or infinite" not in str(error):
            raise
        found = {"R@1": reached, "failed": str(error), "score": 0.0}
    if found["score"] >= start:
        return found
    tqdm.write(
        f"{config.method}: R@1 {found['score']:.2%} is below untrained features' "
        f"{start:.2%}; {found.get('failed', 'trained to the end')}",
        file=sys.stderr,
    )
    return found | {"below untrained": True}


def _recall(embeddings: Tensor, data: ZeroShot) -> float:
    labels = data.test.hierarchy.fine
    return metrics.retrieval(embeddings, labels, ks=(1,))["R@1"]


def _written(out: Path, search: dict, done: dict[tuple, dict]) -> dict:
    runs = [*done.values()]
    found = search | {"date": datetime.now(UTC).date().isoformat()}
    found |= {"chosen": winners(runs), "shared": shared(runs), "runs": runs}
    with written_whole(out) as unfinished:
        unfinished.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _held(file: Path, search: dict) -> dict:
    """What a file holds, if it is of this search; nothing if it is not there."""
    if not file.exists():
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
            told = f" ({held.get(name)}, not {wanted})"
            told = told if len(told) < 200 else ""
            raise ValueError(
                f"{file} holds a search with other {name}{told}; choose another file, "
                "or remove it"
            )
    return held
