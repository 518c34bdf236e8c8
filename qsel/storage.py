"""Files written whole or not at all, and the folder that caches live in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_dir


def cache_folder() -> Path:
    """The user's cache folder for qsel, or the one that QSEL_CACHE names."""
    return Path(os.environ.get("QSEL_CACHE") or user_cache_dir("qsel"))


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that replaces it when the block succeeds.

    An interrupted or failed block leaves what was there before.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "greeting.txt"
        >>> with written_whole(path) as unfinished:
        ...     _ = unfinished.write_text("hello")
        >>> path.read_text()
        'hello'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
