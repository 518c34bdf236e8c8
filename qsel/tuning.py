"""Choosing settings on held-out training classes, with one budget for every method.

Random search: one list of trials is drawn from ``SPACES`` and every method runs all of
it, so that none gets more attention than another. The test classes are never looked at.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from qsel.config import preset
from qsel.data import ZeroShot, validation
from qsel.storage import written_whole
from qsel.training import embed, evaluate, train

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
    },
}


def trials(preset_name: str, count: int, seed: int = 0) -> list[dict[str, float]]:
    """Settings drawn at random from a preset's space, none twice.

    Raises:
        ValueError: the preset has no space, or one with fewer points.

    Example:
        >>> len(trials("frozen", 4)), sorted(trials("laptop", 1)[0])[:2]
        (4, ['dropout', 'learning_rate'])
    """
    space = SPACES.get(preset_name, {})
    if not space or count > math.prod(len(values) for values in space.values()):
        raise ValueError(
            f"{count} trials of preset {preset_name!r}; expected a preset of "
            f"{', '.join(SPACES)} and no more trials than its space has points"
        )
    generator = torch.Generator().manual_seed(seed)
    drawn: list[dict[str, float]] = []
    while len(drawn) < count:
        trial = {
            name: values[int(torch.randint(len(values), (), generator=generator))]
            for name, values in space.items()
        }
        if trial not in drawn:
            drawn.append(trial)
    return drawn


def score(metrics: dict[str, float]) -> float:
    """What the search maximises: the mean of R@1 and NMI, the paper's two measures."""
    return (metrics["R@1"] + metrics["NMI"]) / 2


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
        ValueError: the file holds another search.
    """
    held_out = [validation(data.train, seed=split) for split in range(splits)]
    drawn = trials(preset_name, count)
    search = {
        "data": data.name,
        "preset": preset_name,
        "space": {name: list(values) for name, values in SPACES[preset_name].items()},
        "shared settings": settings or {},
    }
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
        wanted = {**(settings or {}), **drawn[trial]}
        config = preset(preset_name, method).with_settings(wanted)
        trained = train(held_out[split], config)
        labels = held_out[split].test.hierarchy.fine
        found = evaluate(embed(trained.model, trained.test), labels)
        run = {"method": method, "trial": trial, "split": split}
        done.append(run | {"metrics": found, "score": score(found)})
        winners = _winners(done, drawn, methods)
        with written_whole(out) as unfinished:
            text = search | {"trials": drawn, "chosen": winners, "runs": done}
            unfinished.write_text(json.dumps(text, indent=1) + "\n")
    return _winners(done, drawn, methods)


def _done(out: Path, search: dict[str, object]) -> list[dict]:
    """The runs that a file holds, if it is of this search."""
    if not out.exists():
        return []
    held = json.loads(out.read_text())
    for name, wanted in search.items():
        if held.get(name) != wanted:
            raise ValueError(
                f"{out} holds a search with other {name} ({held.get(name)}, not "
                f"{wanted}); choose another file, or remove it"
            )
    return held["runs"]


def _winners(
    done: list[dict], drawn: list[dict], methods: Sequence[str]
) -> dict[str, dict[str, float]]:
    best = {}
    for method in methods:
        scores: dict[int, list[float]] = {}
        for run in done:
            if run["method"] == method:
                scores.setdefault(run["trial"], []).append(run["score"])
        if scores:
            most = max(len(s) for s in scores.values())
            whole = {t: sum(s) / most for t, s in scores.items() if len(s) == most}
            best[method] = drawn[max(whole, key=whole.get)]
    return best
