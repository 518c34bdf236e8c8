"""What was found out about files, kept for as long as they stay as they are."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.concurrent import thread_map

from qsel.data.files import cache_path, first_line, written_whole
from qsel.data.machine import available_cores

SETTLED = 2 * 10**9  # nanoseconds; some file systems count time in steps of 2 s


def answers(
    question: str, ask: Callable[[Path], str], paths: Sequence[Path], title: str
) -> tuple[list[str], dict[Path, str]]:
    """``ask`` of every file, in threads; what is known from before is not asked again.

    An answer is kept in the cache folder, with the file's size, times and inode, and
    holds while they do. A file that changed within the last two seconds could change
    again without a trace, so its answer is not kept. Neither is a problem.

    Args:
        question: what is asked; answers to different questions are kept apart.
        ask: gives the answer, or raises ValueError or OSError where there is none.
        paths: N files.
        title: of the progress bar, which appears after a second.

    Returns:
        The answers in the order of the files; and of files without one "path: reason".

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a"
        >>> _ = file.write_text("abc")
        >>> answers("text", Path.read_text, [file], "reading")
        (['abc'], {})
    """
    above = os.path.commonpath([path.absolute().parent for path in paths])
    key = hashlib.sha256(repr((question, above)).encode()).hexdigest()[:24]
    store = cache_path(f"files/{key}.json")
    known = _load(store)

    def answer(path: Path) -> list | Exception:
        """What is known of the file, found out now or before; or what is wrong."""
        stamp = _stamp(path)
        kept = known.get(str(path.absolute()))
        if stamp and kept and kept[0] == stamp:
            return kept
        try:
            return [stamp, ask(path)]
        except (OSError, ValueError) as error:
            return error

    bar = dict(desc=title, unit="image", delay=1, tqdm_class=tqdm)
    found = thread_map(answer, paths, max_workers=min(available_cores(), 8), **bar)
    pairs = [*zip(paths, found, strict=True)]
    answered = [(path, entry) for path, entry in pairs if isinstance(entry, list)]
    failed = [(path, error) for path, error in pairs if isinstance(error, Exception)]
    settled = {str(path.absolute()): entry for path, entry in answered if entry[0]}
    if any(known.get(name) != entry for name, entry in settled.items()):
        _save(store, settled)
    problems = {path: f"{path}: {first_line(error)}" for path, error in failed}
    return [entry[1] for _, entry in answered], problems


def _stamp(path: Path) -> list[int] | None:
    """What changes with a file's content; None while the last change is too young."""
    now = time.time_ns()
    try:
        state = path.stat()
    except OSError:
        return None
    if max(state.st_mtime_ns, state.st_ctime_ns) > now - SETTLED:
        return None
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _load(store: Path) -> dict[str, list]:
    """The answers kept; none if the file is absent or damaged."""
    try:
        digest, _, text = store.read_text(encoding="utf-8").partition("\n")
        return json.loads(text) if digest == _digest(text) else {}
    except (OSError, ValueError):
        return {}


def _save(store: Path, fresh: dict[str, list]) -> None:
    # read again: another process may have added to it meanwhile
    text = json.dumps(_load(store) | fresh)
    # a cache that cannot be written costs time, not the result
    with suppress(OSError), written_whole(store) as unfinished:
        unfinished.write_text(f"{_digest(text)}\n{text}", encoding="utf-8")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
