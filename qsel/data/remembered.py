"""What was found out about files, kept for as long as they stay as they are."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from qsel.data.files import cache_folder, written_whole
from qsel.data.machine import available_cores

SETTLED = 2 * 10**9  # nanoseconds; some file systems count time in steps of 2 s


def answers(
    question: str,
    ask: Callable[[Path], str],
    paths: Sequence[Path],
    workers: int | None = None,
    title: str = "reading",
) -> tuple[list[str | None], list[str]]:
    """``ask`` of every file, in threads; what is known from before is not asked again.

    An answer is kept in the cache folder, with the file's size, times and inode, and
    holds while they do. A file that changed within the last two seconds could change
    again without a trace, so its answer is not kept. Neither is a problem.

    Args:
        question: what is asked; answers to different questions are kept apart.
        ask: gives the answer, or raises ValueError or OSError where there is none.
        paths: N files.
        workers: threads; by default one for each CPU core, 8 at most.
        title: of the progress bar, which appears after a second.

    Returns:
        N answers, None where there is none; and "path: reason" for each of those.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a"
        >>> _ = file.write_text("abc")
        >>> answers("length", lambda path: str(len(path.read_text())), [file])
        (['3'], [])
    """
    above = os.path.commonpath([path.absolute().parent for path in paths])
    key = hashlib.sha256(repr((question, above)).encode()).hexdigest()[:24]
    store = cache_folder() / "files" / f"{key}.json"
    known = _load(store)

    def answer(path: Path) -> tuple[str | None, str, list | None]:
        """The answer, the problem, and what to keep."""
        stamp = _stamp(path)
        entry = known.get(str(path.absolute()))
        if stamp and entry and entry[0] == stamp:
            return entry[1], "", None
        try:
            found = ask(path)
        except (OSError, ValueError) as error:
            return None, f"{path}: {error}", None
        return found, "", [stamp, found] if stamp else None

    if workers is None:
        workers = min(available_cores(), 8)
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        bar = tqdm(
            pool.map(answer, paths),
            desc=title,
            total=len(paths),
            unit="image",
            delay=1,
        )
        found = list(bar)
    fresh = {
        str(path.absolute()): new
        for path, (_, _, new) in zip(paths, found, strict=True)
        if new
    }
    if fresh:
        _save(store, fresh)
    return [a for a, _, _ in found], [problem for _, problem, _ in found if problem]


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
