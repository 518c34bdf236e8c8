"""Folders, files written whole or not at all, locks, and caches."""

import atexit
import errno
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

T = TypeVar("T")

# What a system says where a file cannot grow: the disk, the quota, the allowed size.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cache_path(name: str) -> Path:
    """Where the file of this name is kept, or will be, in the cache folder.

    That is QSEL_CACHE, or the user's cache folder. A file that is there is read from a
    folder that cannot be written to, too. New files then go to a temporary folder that
    goes when the process ends; a warning says so once.
    """
    folder = Path(os.environ.get("QSEL_CACHE") or user_cache_dir("qsel"))
    there = folder / name
    return there if os.path.exists(there) else _writable(folder) / name


@cache
def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
        reason = "permission denied"
    except OSError as error:
        reason = first_line(error)
    instead = Path(tempfile.mkdtemp(prefix="qsel-"))
    atexit.register(shutil.rmtree, instead, ignore_errors=True)
    warnings.warn(
        f"the cache folder {folder} cannot be written to ({reason}); until this "
        f"process ends {instead} takes its place. Set QSEL_CACHE to a folder that can "
        "be written, and nothing has to be made twice",
        stacklevel=3,
    )
    return instead


def load_or_make(
    path: Path,
    load: Callable[[Path], T],
    make: Callable[[], T],
    save: Callable[[T, Path], object],
) -> T:
    """What a cached file holds; or what is made now, and kept for the next time.

    A file that is cut off or holds something else is made again, with a warning. So is
    one that cannot be kept, each time that it is asked for.

    Args:
        path: of the file, see ``cache_path``.
        load: reads it; raises any exception if that is not what it should hold.
        make: called if there is no file, or none that can be loaded.
        save: writes what was made to a path that it is given.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "greeting.txt"
        >>> def save(text: str, path: Path):
        ...     path.write_text(text)
        >>> load_or_make(path, Path.read_text, lambda: "hello", save)
        'hello'
        >>> load_or_make(path, Path.read_text, lambda: "not called", save)
        'hello'
    """
    if os.path.exists(path):
        try:
            return load(path)
        except Exception as error:  # broken bytes raise anything
            warnings.warn(
                f"the cached file {path} cannot be used ({first_line(error)}); making "
                "it again",
                stacklevel=2,
            )
    value = make()
    try:
        with written_whole(path) as unfinished:
            save(value, unfinished)
    except (OSError, RuntimeError) as error:  # torch's own word for a closed folder
        warnings.warn(
            f"the cached file {path} cannot be kept ({first_line(error)}), so it will "
            "be made again the next time; set QSEL_CACHE to a folder that can be "
            "written and has room",
            stacklevel=2,
        )
    return value


def first_line(error: Exception) -> str:
    """What an error says, in one line; its kind if it says nothing.

    Example:
        >>> first_line(ValueError("too long\\nby far")), first_line(EOFError())
        ('too long', 'the file ends early')
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()  # without the path, which the caller names
    if isinstance(error, EOFError):  # some say nothing
        return "the file ends early"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def made(folder: Path) -> Path:
    """The folder itself, made if need be.

    Raises:
        OSError: there can be none of this name; the path is named.

    Example:
        >>> made(Path(tempfile.mkdtemp()) / "new").is_dir()
        True
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"the folder {folder} cannot be made: {first_line(error)}; give another one"
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
        >>> path = Path(tempfile.mkdtemp()) / "greeting.txt"
        >>> with written_whole(path) as unfinished:
        ...     _ = unfinished.write_text("hello")
        >>> path.read_text()
        'hello'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = f"{os.getpid()}-{threading.get_ident()}"  # of this process and thread
    unfinished = path.with_name(f"{path.name}.{own}.part")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:
        # torch says only that it lost its place, which happens where there is no room
        if getattr(error, "errno", 0) in _FULL or "inline_container" in str(error):
            kept = "the previous one is kept" if path.exists() else "nothing is written"
            raise OSError(
                f"no room for {path}; {kept}: make room and run again"
            ) from error
        raise
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a file for the block, unless another process holds it.

    The system frees the lock of a process that dies, however it dies.

    Yields:
        Whether this process holds it now.

    Example:
        >>> with locked(Path(tempfile.mkdtemp()) / "lock") as mine:
        ...     mine
        True
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path).acquire(blocking=False)
    except Timeout:
        yield False
    else:
        with lock:
            yield True
