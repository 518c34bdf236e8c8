"""Time beside the floor, taken in turns; peak memory in a process of its own."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks.candidates import ALL, floor
from benchmarks.inputs import Inputs, regular
from benchmarks.peers import Answer


def seconds(work: Callable[[], object]) -> float:
    """How long something takes; a GPU's work is waited for."""
    _wait()
    began = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - began


def beside_floor(
    inputs: Inputs, run: Callable[[Inputs], Answer], repeats: int = 1
) -> tuple[dict[str, float], Answer]:
    """Floor and candidate in turns, the least of each, and the last answer.

    Returns:
        "seconds", "floor" (seconds too) and "ratio", the first by the second.
    """
    answers: list[Answer] = []
    own, below = [], []
    for _ in range(repeats):
        below.append(seconds(lambda: floor(inputs)))
        own.append(seconds(lambda: answers.append(run(inputs))))
        del answers[:-1]
    found = {"seconds": min(own), "floor": min(below)}
    return found | {"ratio": found["seconds"] / found["floor"]}, answers[-1]


def peak_memory(name: str, inputs: Inputs) -> int:
    """Bytes that a candidate needs at most above its inputs."""
    arrays = {key: value.numpy() for key, value in vars(inputs).items()}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, name, arrays, torch.get_num_threads()).result()


def _peak(name: str, arrays: dict[str, np.ndarray], threads: int) -> int:
    torch.set_num_threads(threads)
    run = ALL[name].run
    run(regular(400, 400, 8))  # what is loaded and kept at the first call
    inputs = Inputs(**{key: torch.from_numpy(x) for key, x in arrays.items()})
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak until here
    before = _status("VmRSS")
    run(inputs)
    return max(0, _status("VmHWM") - before)


def _status(field: str) -> int:
    """Bytes, from what Linux says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(x.split()[1]) for x in lines if x.startswith(f"{field}:"))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
