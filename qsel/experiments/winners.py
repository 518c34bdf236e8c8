"""What won in a search for settings, and whether the search was wide enough."""

import json
from collections.abc import Mapping, Sequence
from math import log

from qsel.experiments.config import RANGES
from qsel.experiments.row_names import QUADRUPLETS

EDGE = 0.1  # of a range


def winners(runs: Sequence[dict]) -> dict[str, dict[str, float]]:
    """Each row's own best setting; "last_epoch" is the epoch at which it was best.

    The runs are as the search's file holds them.
    """
    best: dict[str, dict] = {}
    for run in _trained(runs):
        if run["score"] > best.get(run["method"], {"score": -1})["score"]:
            best[run["method"]] = run
    return {m: r["settings"] | {"last_epoch": r["best epoch"]} for m, r in best.items()}


def shared(runs: Sequence[dict]) -> dict[str, float]:
    """The one setting, and the epoch, with the best mean R@1 of the quadruplet rows.

    Empty where no trial has been run with all four.
    """
    curves: dict[str, dict[str, list[float]]] = {}
    for run in _trained(runs):
        if run["method"] in QUADRUPLETS:
            same = curves.setdefault(json.dumps(run["settings"]), {})
            same[run["method"]] = run["R@1"]
    means = {
        (settings, epoch): sum(reached)
        for settings, of in curves.items()
        if len(of) == len(QUADRUPLETS)
        for epoch, reached in enumerate(zip(*of.values(), strict=False), start=1)
    }
    if not means:
        return {}
    settings, epoch = max(means, key=means.get)
    return json.loads(settings) | {"last_epoch": epoch}


def _trained(runs: Sequence[dict]) -> list[dict]:
    return [run for run in runs if "failed" not in run]


def at_edge(
    chosen: Mapping[str, Mapping[str, float]],
    ranges: Mapping[str, Mapping[str, Sequence[float]]],
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
            if value is None:  # the authors' own, in the middle
                continue
            share = log(max(value, low) / low, high / low) if low else value / high
            if share < EDGE and low > least:
                found.setdefault(method, {})[name] = "smallest"
            elif share > 1 - EDGE and high < most:
                found.setdefault(method, {})[name] = "largest"
    return found
