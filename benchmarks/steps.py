"""Training with selection beside the same training with random quadruplets."""

import statistics
from dataclasses import replace

import torch

from qsel import data as datasets
from qsel.experiments.config import preset
from qsel.experiments.training import train

TARGET = 1.10


def epochs(source: str, settings: dict[str, object], repeats: int) -> dict:
    """Whole epochs of the ``laptop`` preset, by turns, re-embedding included.

    Returns:
        The seconds of every epoch by method, and "ratio", the median of Method 2 by
        that of random.
    """
    data = datasets.load(source)
    random = preset("laptop", "random").with_settings({"epochs": 1} | settings)
    cpu = torch.device("cpu")
    took: dict[str, list[float]] = {"random": [], "method2": []}
    for _ in range(repeats):
        for method, times in took.items():
            # One setting for both: only the way to draw differs.
            times.append(train(data, replace(random, method=method), cpu).seconds)
    medians = {method: statistics.median(times) for method, times in took.items()}
    steps = max(1, len(data.train.hierarchy.references()) // random.batch)
    return {
        **{"preset": "laptop", "data": source, "steps": steps, "batch": random.batch},
        **{"seconds": took, "target": TARGET},
        "ratio": medians["method2"] / medians["random"],
    }
