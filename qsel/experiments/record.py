"""A run's record: everything needed to say where a number comes from.

One JSON file a run, written whole or not at all. It holds no path and no name of the
machine.
"""

import ast
import hashlib
import json
import platform
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import get_origin, get_type_hints

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
    """What was run, on what, and what came out.

    Attributes:
        config: every setting, see ``qsel.experiments.config.Config``.
        preset: the preset that the settings started from.
        data: name and fingerprints of the training and the test images, class counts,
            the names of the fine classes "trained on" (older records lack them), and
            how many images can never be a reference.
        metrics: on the unseen classes: R@K, NMI, MAP@R as fractions, "NMI sd" over
            k-means seeds.
        by_class: of each unseen fine class, the number of "images", and of those that
            "R@1" counts.
        curve: one entry an epoch: mean loss and its parts, share of quadruplets whose
            two hinges are both zero (of the rows with quadruplets), learning rate.
        command: what repeats the run.
        versions: see ``versions``. "results" decides whether a record still holds; the
            others say where it comes from.
        device: what it ran on.
        date: the day it ended, in UTC.
        seconds: wall-clock time of training, since the last resume, and of evaluation.
    """

    config: dict
    preset: str
    data: dict
    metrics: dict[str, float]
    by_class: dict[str, list[int]]
    curve: list[dict[str, float]]
    command: str
    versions: dict[str, str | int]
    device: str
    date: str
    seconds: dict[str, float]

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
            content = json.loads(path.read_text(encoding="utf-8"))
            hints = get_type_hints(cls)
            if not isinstance(content, dict) or content.keys() != hints.keys():
                raise TypeError(f"expected an object of {', '.join(hints)}")
            found = cls(**content)
            for name, kind in hints.items():
                kind = get_origin(kind) or kind
                if not isinstance(getattr(found, name), kind):
                    raise TypeError(f"{name} is no {kind.__name__}")
            return found
        except OSError as error:
            raise RunError(f"no run record at {path} ({error.strerror})") from error
        except (TypeError, ValueError) as error:
            raise RunError(
                f"{path} is not a run record of this version ({error}); remove it and "
                "run again"
            ) from error


def writable(folder: Path, option: str = "--out") -> None:
    """Check that a folder can be made and written to; nothing of it is left.

    Args:
        folder: that will hold runs, or one.
        option: what the folder was given with.

    Raises:
        RunError: it cannot; the folder is named.

    Example:
        >>> writable(Path("runs") / "first")
    """
    missing = []
    try:
        str(folder).encode()  # torch writes to no other
        missing += [part for part in (folder, *folder.parents) if not part.exists()]
        for last in (False, False, True):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()
                break
            except FileNotFoundError:  # another program has just removed it again
                if last:
                    raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not UTF-8"
        shown = str(folder).encode("utf-8", "backslashreplace").decode()
        raise RunError(
            f"cannot write to {shown} ({reason.lower()}); give "
            f"another folder with {option}"
        ) from error
    finally:
        _remove_empty(missing)


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, innermost first, unless a program has put something there."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def alone_at(work: Path, lock: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, or of another output, for the block.

    Args:
        work: what is written.
        lock: the file that stands for it.

    Raises:
        RunError: another program has it; the work is named.
    """
    missing = [part for part in lock.parents if not part.exists()]
    with locked(lock) as mine:
        if not mine:
            raise RunError(
                f"another program is at work on {work}; wait for it, or give another "
                "place with --out"
            )
        try:
            yield
        finally:
            if missing and [*missing[0].iterdir()] == [lock]:  # nothing was written
                lock.unlink()
                _remove_empty(missing)


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

    "results" is ``RESULTS_VERSION``; "source" a digest of the package's statements;
    "commit" that of the repository, if the package lies in its own.
    """
    found: dict[str, str | int] = {"python": platform.python_version()}
    found |= {name: version(name) for name in ("qsel", *PACKAGES)}
    capability = torch.backends.cpu.get_cpu_capability()
    found |= {"cpu": f"{platform.machine()} {capability}", "results": RESULTS_VERSION}
    if commit := _commit(Path(__file__).parents[1]):
        found["commit"] = commit
    return found | {"source": source_digest()}


def _commit(package: Path) -> str | None:
    """The commit of a package's own repository; none where it is only installed.

    A package that is installed somewhere below another project's repository, as in its
    virtual environment, is not tracked there.
    """
    git = ["git", "-C", str(package)]
    try:
        top = Path(_output([*git, "rev-parse", "--show-toplevel"]))
        if not top.samefile(package.parent) or not (top / "pyproject.toml").is_file():
            return None
        _output([*git, "ls-files", "--error-unmatch", "--", "__init__.py"])
        commit = _output([*git, "rev-parse", "HEAD"])
        changed = _output([*git, "status", "--porcelain", "--", "."])
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit[:12] + (" with changes" if changed else "")


@cache
def source_digest() -> str:
    """12 hexadecimal digits over the package's statements: a record's provenance.

    Comments and docstrings do not count. Nothing is decided by it.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        tree = without_docstrings(ast.parse(path.read_text(encoding="utf-8")))
        digest.update(ast.unparse(tree).encode())
    return digest.hexdigest()[:12]


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
    """The shell command that repeats a run; only what differs is spelled out.

    A data folder and a weights file are given by their names: a record holds no folder
    of the machine.

    Args:
        source: what ``--data`` names, with its options.
        preset: the preset that ``base`` is made of.
        config: the run's settings.
        base: the preset's settings for the run's method.
        threads: of the processor; a sum in another number of them is another sum.
        processes: that train together.
    """
    words = ["qsel", "train"]
    if processes > 1:
        words = ["torchrun", f"--nproc-per-node={processes}", "-m", *words]
    words += ["--data", source, "--preset", preset]
    words += ["--method", config.method, "--seed", str(config.seed)]
    wanted, given = config.to_dict(), base.to_dict()
    if config.weights:
        wanted["weights"] = Path(config.weights).name
    for name, value in wanted.items():
        if name not in ("method", "seed") and value != given[name]:
            words += ["--set", f"{name}={_as_text(value)}"]
    set_threads = f"OMP_NUM_THREADS={threads} " if threads > 1 else ""
    return set_threads + shlex.join(words)


def _as_text(value: object) -> str:
    return (
        str(value).lower() if value is None or isinstance(value, bool) else str(value)
    )


def _output(words: list[str]) -> str:
    return subprocess.run(
        words, capture_output=True, text=True, check=True
    ).stdout.strip()
