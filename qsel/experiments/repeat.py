"""A record's command, run again: proof that the code still gives what is recorded."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from qsel.experiments.record import PACKAGES, RESULTS_VERSION, Record, RunError
from qsel.experiments.run import without_names

TOLERANCE = 0.03  # of a fraction: 3 points
# A record may come from anywhere: nothing else that it names is called.
TRAINS = re.compile(
    r"(OMP_NUM_THREADS=\d+ )?(torchrun --nproc-per-node=\d+ -m )?"
    r"qsel train --data [^\n]*"
)


def repeat(path: Path, data: str | None = None, trust: bool = False) -> Record:
    """Run a record's command again, and compare the metrics.

    With the same packages on the same kind of processor they are equal, to the last
    bit. Elsewhere sums are rounded differently, and every step of the training enlarges
    the difference: each metric may then differ by ``TOLERANCE``, about as much as two
    seeds of a short run do.

    Args:
        path: of the record.
        data: what ``--data`` names now, if that is a folder: a record holds its name
            alone.
        trust: call the function that the record names as its trunk, if it names one.

    Raises:
        RunError: a record of another results version or of other data, a command that
            is no training, calls a function or failed, or metrics that differ by more;
            each is named.
    """
    record = Record.load(path)
    if record.versions.get("results") != RESULTS_VERSION:
        raise RunError(
            f"{path} is of results version {record.versions.get('results')}, and this "
            f"code of {RESULTS_VERSION}; run it again instead"
        )
    if not TRAINS.fullmatch(record.command):
        raise RunError(f"{path}: its command is no `qsel train`: {record.command}")
    words = shlex.split(record.command)
    if not trust and any(re.search(r"trunk\s*=.*:", w) for w in words):
        raise RunError(
            f"{path} calls a function of its own as the trunk; give --trust if you "
            f"trust the record and the function: {record.command}"
        )
    with tempfile.TemporaryDirectory(prefix="qsel-") as folder:
        _call_again(record.command, data, folder)
        again = Record.load(Path(folder) / "record.json")
    if without_names(again.data) != without_names(record.data):
        raise RunError(f"{path} is of other images; give them with --data")
    allowed = 0.0 if _computer(record) == _computer(again) else TOLERANCE
    far = [
        f"{name} {100 * was:.4f} → {100 * again.metrics[name]:.4f}"
        for name, was in record.metrics.items()
        if abs(again.metrics[name] - was) > allowed
    ]
    if far:
        raise RunError(
            f"{path} is not repeated within {100 * allowed:g} points: "
            f"{', '.join(far)}; if the new values are right, raise RESULTS_VERSION in "
            "qsel/experiments/record.py"
        )
    return again


def _call_again(text: str, data: str | None, folder: str) -> None:
    """Call a record's command in a process of its own, with another output folder."""
    words = shlex.split(text)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if words[0].startswith("OMP_NUM_THREADS="):
        environment["OMP_NUM_THREADS"] = words.pop(0).partition("=")[2]
    place = words.index("--data") + 1
    if data is None and not words[place].startswith("synthcars"):
        raise RunError(
            f"the record is of the folder {words[place]!r}; say with --data where it is"
        )
    words[place] = data or words[place]
    if words[0] == "qsel":
        words.insert(0, "-m")
    else:
        words[:1] = ["-m", "torch.distributed.run", "--standalone"]
    words = [sys.executable, *words, "--out", folder]
    if subprocess.run(words, env=environment, stdout=subprocess.DEVNULL).returncode:
        raise RunError(f"{text} failed; the reason stands above")


def _computer(record: Record) -> list:
    """The packages and the kind of processor that made a run."""
    names = ("python", *PACKAGES, "cpu")
    return [record.device, *(record.versions.get(name) for name in names)]
