"""Folders, files written whole or not at all, locks, and where caches live."""

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_dir

# What a system says where a file cannot grow: the disk, the quota, the allowed size.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cache_folder() -> Path:
    """The user's cache folder for qsel, or the one that QSEL_CACHE names."""
    return Path(os.environ.get("QSEL_CACHE") or user_cache_dir("qsel"))


def made(folder: Path) -> Path:
    """The folder itself, made if need be.

    Raises:
        OSError: there can be none of this name; the path is named.

    Example:
        >>> import tempfile
        >>> made(Path(tempfile.mkdtemp()) / "new").is_dir()
        True
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OSError(f"{folder} is a file, or lies in one; give a folder") from None
    except OSError as error:
        reason = os.strerror(error.errno).lower()
        raise OSError(
            f"the folder {folder} cannot be made: {reason}; give another one"
        ) from error
    return folder


def check_output(path: Path, endings: Sequence[str] = ()) -> None:
    """Refuse a file that could not be written, before the work that would fill it.

    Raises:
        ValueError: another ending than one of these, a folder of that name, or no
            permission; the path is named.

    Example:
        >>> check_output(Path("a.csv"), [".csv"])
    """
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"{path}: expected a file ending in {', '.join(endings)}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file to write")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise ValueError(f"{path} cannot be written: {above} is a file, not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(
            f"{path} cannot be written: no permission to write to {above}; give "
            "another folder"
        )


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that replaces it when the block succeeds.

    An interrupted or failed block leaves what was there before.

    Raises:
        OSError: there is no room for the file, or the folder cannot be written to; the
            file is named.

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
    except (OSError, RuntimeError) as error:
        if reason := _no_room(unfinished, error):
            kept = "the previous one is kept" if path.exists() else "nothing is written"
            raise OSError(
                f"no room for {path} ({reason}); {kept}: make room and run again"
            ) from error
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def _no_room(unfinished: Path, error: Exception) -> str | None:
    """The system's words if a block failed because the file could not grow.

    torch tells only that a write failed, in a RuntimeError. So the system is asked:
    can the file be made a little longer?
    """
    if not isinstance(error, OSError):
        try:
            with unfinished.open("ab", buffering=0) as file:
                file.write(bytes(2**20))
                os.fsync(file)
        except OSError as answer:
            error = answer
    full = isinstance(error, OSError) and error.errno in _FULL
    return os.strerror(error.errno).lower() if full else None


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a file for the block, unless another process holds it.

    The system frees the lock of a process that dies, however it dies.

    Yields:
        Whether this process holds it now.

    Example:
        >>> import tempfile
        >>> with locked(Path(tempfile.mkdtemp()) / "lock") as mine:
        ...     mine
        True
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = True
        except BlockingIOError:
            mine = False
        yield mine
