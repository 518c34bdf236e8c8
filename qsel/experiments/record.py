"""A run's record: everything needed to say where a number comes from.

One JSON file a run, written whole or not at all. It holds no path and no name of the
machine.
"""

import ast
import json
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from qsel.data.files import locked, written_whole
from qsel.experiments.config import Config

# Raise when a recorded answer changes: a draw, a loss, a metric, a data set's pixels.
# Records with another number are run again, and do not compare with new ones.
RESULTS_VERSION = 1
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn")


class RunError(ValueError):
    """A record that cannot be read, or does not fit what it is compared with."""


@dataclass(frozen=True)
class Record:
    """What was run, on what, and what came out."""

    config: dict  # every setting, see ``qsel.experiments.config.Config``
    preset: str  # that the settings started from
    # Name and fingerprints of the training and the test images, class counts, the names
    # of the fine classes "trained on" (older records lack them), and how many images
    # can never be a reference.
    data: dict
    # On the unseen classes: R@K, NMI, MAP@R as fractions, "NMI sd" over k-means seeds.
    metrics: dict[str, float]
    # Of each unseen fine class, the number of "images", and of those that "R@1" counts.
    by_class: dict[str, list[int]]
    # One entry an epoch: mean loss and its parts, share of quadruplets whose two hinges
    # are both zero (of the rows with quadruplets), learning rate.
    curve: list[dict[str, float]]
    command: str  # repeats the run
    # See ``versions``. "results" decides whether a record still holds; the others say
    # where it comes from.
    versions: dict[str, str | int]
    device: str
    date: str  # the day it ended, in UTC
    seconds: dict[str, float]  # of training, since the last resume, and of evaluation

    def save(self, path: Path) -> None:
        """Write the record as JSON, whole or not at all."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        # Long lists of counts on one line.
        text = re.sub(r"\[[\d,\s]*\]", lambda m: " ".join(m[0].split()), text)
        with written_whole(path) as unfinished:
            unfinished.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Record":
        """Read a record.

        Raises:
            RunError: no such file, or not a record; the path is named.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise RunError(f"no run record at {path} ({error.strerror})") from error
        except (TypeError, ValueError) as error:
            raise RunError(
                f"{path} is not a run record of this version ({error}); remove it and "
                "run again"
            ) from error


def writable(folder: Path, option: str = "--out") -> None:
    """Check that a folder can be made and written to; nothing is made.

    Raises:
        RunError: it cannot; the folder and the option that gave it are named.

    Example:
        >>> writable(Path("runs") / "first")
    """
    there = folder.absolute()
    while not os.path.exists(there):
        there = there.parent
    reason = None
    if not there.is_dir():
        reason = f"{there} is a file"
    elif not os.access(there, os.W_OK | os.X_OK):
        reason = f"no permission to write to {there}"
    if reason:
        raise RunError(
            f"cannot write to {folder} ({reason}); give another folder with {option}"
        )


@contextmanager
def alone_at(work: Path, lock: Path) -> Iterator[None]:
    """Hold the lock of what is written, a run's folder say, for the block.

    Raises:
        RunError: another program has it; the work is named.
    """
    with locked(lock) as mine:
        if not mine:
            raise RunError(
                f"another program is at work on {work}; wait for it, or give another "
                "place with --out"
            )
        try:
            yield
        finally:
            with suppress(OSError):
                if [*lock.parent.iterdir()] == [lock]:  # nothing was written
                    lock.unlink()
                    lock.parent.rmdir()


def recorded_settings(config: Config) -> dict[str, object]:
    """The settings as recorded: of a weights file its name, without its folders."""
    settings = config.to_dict()
    if config.weights:
        settings["weights"] = Path(config.weights).name
    return settings


def computed_by() -> tuple:
    """What decides on a network's answers beside its inputs; a part of cache keys."""
    capability = torch.backends.cpu.get_cpu_capability()
    return RESULTS_VERSION, torch.__version__, platform.machine(), capability


def versions() -> dict[str, str | int]:
    """What computes: Python, packages, kind of processor, and this package's source.

    "results" is ``RESULTS_VERSION``; "commit" the last one that changed the package, if
    it lies in a repository.
    """
    found: dict[str, str | int] = {"python": platform.python_version()}
    found |= {name: version(name) for name in ("qsel", *PACKAGES)}
    capability = torch.backends.cpu.get_cpu_capability()
    found |= {"cpu": f"{platform.machine()} {capability}", "results": RESULTS_VERSION}
    if commit := _commit(Path(__file__).parents[1]):
        found["commit"] = commit
    return found


def _commit(package: Path) -> str | None:
    """The last commit that changed a package; none where git does not track it."""
    git = ["git", "-C", str(package)]
    try:
        commit, changed = (
            subprocess.check_output(
                [*git, *words], stderr=subprocess.DEVNULL, text=True
            )
            for words in (
                ["log", "-1", "--format=%H", "--", "."],
                ["status", "--porcelain", "--", "."],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit[:12] + (" with changes" if changed else "") if commit else None


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same statements, without what only explains them.

    Example:
        >>> ast.unparse(without_docstrings(ast.parse("'Words.'; x = 1  # one")))
        'x = 1'
    """
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body[:1] = [] if node.body[1:] else [ast.Pass()]
    return tree


def command(
    source: str,
    preset: str,
    config: Config,
    base: Config,
    threads: int = 1,
    processes: int = 1,
) -> str:
    """The shell command that repeats a run.

    Only settings that differ from the preset's for that method, ``base``, are spelled
    out. A data folder and a weights file are given by their names: a record holds no
    folder of the machine. A sum in another number of threads is another sum.
    """
    words = ["qsel", "train"]
    if processes > 1:
        words = ["torchrun", f"--nproc-per-node={processes}", "-m", *words]
    words += ["--data", source, "--preset", preset]
    words += ["--method", config.method, "--seed", str(config.seed)]
    given = base.to_dict()
    for name, value in recorded_settings(config).items():
        if name not in ("method", "seed") and value != given[name]:
            plain = value is None or isinstance(value, bool)
            words += ["--set", f"{name}={str(value).lower() if plain else value}"]
    set_threads = f"OMP_NUM_THREADS={threads} " if threads > 1 else ""
    return set_threads + shlex.join(words)
