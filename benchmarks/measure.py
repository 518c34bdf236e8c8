"""Time beside the floor, taken in turns; peak memory in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.candidates import ALL, floor
from benchmarks.inputs import Inputs, regular
from benchmarks.peers import Answer

MEMORY = 10 << 30  # bytes that a candidate may take
SECONDS = 300  # that a process for a candidate's memory may take


def seconds(work: Callable[[], object]) -> float:
    """How long something takes; a GPU's work is waited for."""
    _wait()
    began = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - began


def beside_floor(
    inputs: Inputs, run: Callable[[Inputs], Answer], repeats: int
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


def peak_memory(name: str, inputs: Inputs) -> int | str:
    """Bytes that a candidate needs above its inputs, at most; or why it has none."""
    with tempfile.TemporaryDirectory() as folder:
        inputs.save(Path(folder))
        words = [sys.executable, "-m", __name__, name, folder]
        threads = str(torch.get_num_threads())
        try:
            done = subprocess.run(
                words,
                env=os.environ | {"OMP_NUM_THREADS": threads},
                cwd=Path(__file__).parents[1],
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"more than {SECONDS} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["killed"])[-1][:200]
    return json.loads(done.stdout)["bytes"]


def _child(name: str, folder: str) -> None:
    import resource

    run = floor if name == "floor" else ALL[name].run
    run(regular(400, 400, 8))  # what is loaded and kept at the first call
    inputs = Inputs.load(Path(folder))
    limit = _status("VmData") + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    before = _status("VmRSS")
    run(inputs)
    # The highest of this process, so nothing that came and went is missed.
    print(json.dumps({"bytes": max(0, _status("VmHWM") - before)}))


def _status(field: str) -> int:
    """Bytes, from what Linux says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(x.split()[1]) for x in lines if x.startswith(f"{field}:"))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    _child(*sys.argv[1:])
