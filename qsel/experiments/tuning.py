"""Choosing settings on held-out training classes, with one budget for every row.

Random search: for each row of Table 1 the same number of trials is drawn from its space
and run on the same splits, so that none gets more attention than another. Rows that
read the same settings have the same trials. The test classes are never looked at.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from qsel.data import ZeroShot, validation
from qsel.data.files import written_whole
from qsel.experiments.config import RATE_DIVISORS, Config, preset
from qsel.experiments.network import embed, evaluate
from qsel.experiments.record import alone_at, writable
from qsel.experiments.rows import QUADRUPLETS, ROWS
from qsel.experiments.run import evaluable
from qsel.experiments.training import TrainingError, train

# Around values that train at all; each preset's own.
SPACES: dict[str, dict[str, tuple]] = {
    "frozen": {
        "learning_rate": (0.03, 0.1),
        "dropout": (0.3, 0.6, 0.8),
        "weight_decay": (0.0001, 0.001),
        "whiten": (0.0, 0.2, 0.4),
        "epochs": (7, 14),
    },
    "laptop": {
        "learning_rate": (0.003, 0.01, 0.03),
        "dropout": (0.0, 0.3),
        "weight_decay": (0.0, 0.0005),
        "warmup": (0, 1),
        "epochs": (1, 2),
    },
}
# Clustering sums over its batch, where the others take a mean.
SMALLER = {("laptop", "clustering"): 10}
# What a row does not read: two trials that differ in nothing else would be one.
UNREAD = {
    "random": ("warmup",),
    "n_pairs": ("images_per_class",),
    "triplet_global": ("images_per_class",),
    "classification": ("images_per_class",),
}


def space(preset_name: str, method: str) -> dict[str, tuple]:
    """The values that a row's trials are drawn from: setting → choices.

    Rows without quadruplets have no warm-up; theirs vary the images of a class in a
    batch instead. Rows that do not normalise have longer embeddings and larger
    gradients, and get smaller learning rates.

    Raises:
        ValueError: the preset has no space.

    Example:
        >>> space("laptop", "n_pairs")["learning_rate"]
        (1e-05, 3.333e-05, 0.0001)
    """
    if preset_name not in SPACES:
        raise ValueError(
            f"preset {preset_name!r} has no search space; expected one of "
            f"{', '.join(SPACES)}"
        )
    found = dict(SPACES[preset_name])
    if method not in QUADRUPLETS and found.pop("warmup", None):
        found["images_per_class"] = (4, 8)
    rates = found["learning_rate"]
    smaller = RATE_DIVISORS.get(method, 1) * SMALLER.get((preset_name, method), 1)
    found["learning_rate"] = tuple(float(f"{rate / smaller:.4g}") for rate in rates)
    return found


def trials(
    preset_name: str, count: int, method: str = "method2", seed: int = 0
) -> list[dict[str, float]]:
    """Settings drawn at random from a row's space, none twice, of what the row reads.

    A warm-up that would last all the passes is drawn again: it would make any row with
    quadruplets the row Random.

    Raises:
        ValueError: the preset has no space, or one with fewer points.

    Example:
        >>> len(trials("frozen", 4)), sorted(trials("laptop", 1)[0])[:2]
        (4, ['dropout', 'epochs'])
    """
    choices = space(preset_name, method)
    unread = UNREAD.get(method, ())

    def read(point: dict[str, float]) -> dict[str, float]:
        return {name: value for name, value in point.items() if name not in unread}

    every = itertools.product(*choices.values())
    every = [dict(zip(choices, values, strict=True)) for values in every]
    points = {str(read(point)) for point in every if _goes_beyond_warmup(point)}
    if not 0 < count <= len(points):
        raise ValueError(
            f"{count} trials of preset {preset_name!r}; its space has {len(points)} "
            "points"
        )
    generator = torch.Generator().manual_seed(seed)
    drawn: list[dict[str, float]] = []
    while len(drawn) < count:
        point = {
            name: values[int(torch.randint(len(values), (), generator=generator))]
            for name, values in choices.items()
        }
        if read(point) not in drawn and _goes_beyond_warmup(point):
            drawn.append(read(point))
    return drawn


def _goes_beyond_warmup(point: dict[str, float]) -> bool:
    return "warmup" not in point or point["warmup"] < point["epochs"]


def score(metrics: dict[str, float]) -> float:
    """What the search maximises: the mean of R@1 and NMI, the paper's two measures."""
    return (metrics["R@1"] + metrics["NMI"]) / 2


def checked_trials(
    preset_name: str,
    out: Path,
    methods: Sequence[str],
    count: int,
    settings: dict[str, object] | None = None,
) -> dict[str, list[dict[str, float]]]:
    """The trials of a search, if it can be made; said before any data is loaded.

    Args:
        preset_name: the preset that the trials change.
        out: JSON file of the search.
        methods: the rows to tune.
        count: trials of each method.
        settings: changes to the preset that all trials share.

    Returns:
        For each method its trials, see ``trials``.

    Raises:
        ValueError: no such row, preset or setting, too many trials, or a file that
            cannot be written or holds no search.
    """
    if unknown := sorted(set(methods) - set(ROWS)):
        raise ValueError(f"no row {unknown[0]!r} to tune; expected {', '.join(ROWS)}")
    drawn = {method: trials(preset_name, count, method) for method in methods}
    for method in methods:
        preset(preset_name, method).with_settings(settings or {})
    if out.is_dir():
        raise ValueError(f"{out} is a folder; give a file for the search with --out")
    writable(out.parent)
    _done(out, {})
    return drawn


def tune(
    data: ZeroShot,
    preset_name: str,
    out: Path,
    methods: Sequence[str],
    count: int = 8,
    splits: int = 2,
    settings: dict[str, object] | None = None,
) -> dict[str, dict[str, float]]:
    """Run every trial with every method on held-out training classes.

    Results are written after each run, and runs that are in the file already are not
    repeated.

    Args:
        data: its training classes are split; its test classes are not used.
        preset_name: the preset that the trials change.
        out: JSON file of all trials, their scores and the winners.
        methods: the rows to tune.
        count: trials of each method.
        splits: different halvings of the training classes a trial is scored on.
        settings: changes to the preset that all trials share.

    Returns:
        For each method, the settings with the best mean score.

    Raises:
        ValueError: the file holds another search, another program is writing it, the
            test half is too small for the metrics, or see ``checked_trials``.
    """
    drawn = checked_trials(preset_name, out, methods, count, settings)
    held_out = [validation(data.train, seed=split) for split in range(splits)]
    for halves in held_out:
        evaluable(halves.test)
    search = {
        "data": data.name,
        "preset": preset_name,
        "shared settings": settings or {},
    }
    with alone_at(out, out.with_name(f"{out.name}.lock")):
        done = _done(out, search)
        finished = {(run["method"], run["trial"], run["split"]) for run in done}
        todo = [
            (method, trial, split)
            for trial in range(count)
            for split in range(splits)
            for method in methods
            if (method, trial, split) not in finished
        ]
        for method, trial, split in tqdm(todo, desc="trials", unit="run"):
            wanted = {**(settings or {}), **drawn[method][trial]}
            config = preset(preset_name, method).with_settings(wanted)
            run = {"method": method, "trial": trial, "split": split}
            run |= {"settings": drawn[method][trial]}
            done.append(run | _result(held_out[split], config))
            with written_whole(out) as unfinished:
                text = search | {"chosen": winners(done), "runs": done}
                unfinished.write_text(json.dumps(text, indent=1) + "\n")
    return winners(done)


def _result(data: ZeroShot, config: Config) -> dict[str, object]:
    try:
        trained = train(data, config)
    except TrainingError as error:  # settings that do not train lose, but are told
        return {"failed": str(error), "score": 0.0}
    found = evaluate(embed(trained.model, trained.test), data.test.hierarchy.fine)
    return {"metrics": found, "score": score(found)}


def _done(out: Path, search: dict[str, object]) -> list[dict]:
    """The runs that a file holds, if it is of this search."""
    if not out.exists():
        return []
    try:
        held = json.loads(out.read_text(encoding="utf-8"))
        held["runs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{out} holds no search that can be read; choose another file, or remove it"
        ) from error
    for name, wanted in search.items():
        if held.get(name) != wanted:
            raise ValueError(
                f"{out} holds a search with other {name} ({held.get(name)}, not "
                f"{wanted}); choose another file, or remove it"
            )
    return held["runs"]


def winners(runs: list[dict]) -> dict[str, dict[str, float]]:
    """For each row of a search, the settings with the best mean score.

    Trials that were not run on all splits do not count.

    Args:
        runs: as the search's file holds them, each with method, trial, split,
            settings and score.
    """
    best: dict[str, dict[str, float]] = {}
    for method in dict.fromkeys(run["method"] for run in runs):
        scores: dict[int, list[float]] = {}
        settings = {}
        for run in runs:
            if run["method"] == method:
                scores.setdefault(run["trial"], []).append(run["score"])
                settings[run["trial"]] = run["settings"]
        most = max(len(s) for s in scores.values())
        whole = {t: sum(s) / most for t, s in scores.items() if len(s) == most}
        best[method] = settings[max(whole, key=whole.get)]
    return best
