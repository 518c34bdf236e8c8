"""Files written whole or not at all, locks, and caches that heal."""

import errno
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from qsel.data import files
from qsel.data.files import (
    cache_folder,
    cache_path,
    first_line,
    load_or_make,
    locked,
    made,
    written_whole,
)


def test_makes_the_folder_and_leaves_only_the_file(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    with written_whole(path) as unfinished:
        unfinished.write_text("new")
        assert not path.exists()
    assert [p.name for p in path.parent.iterdir()] == ["c.txt"]
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_a_failed_block_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "c.txt"
    path.write_text("old")
    with pytest.raises(error), written_whole(path) as unfinished:
        unfinished.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), written_whole(path):
        pass
    assert path.read_text() == "old"


def test_a_name_of_another_process_is_not_taken(tmp_path):
    path = tmp_path / "c.txt"
    with written_whole(path) as unfinished:
        assert str(os.getpid()) in unfinished.name
        assert unfinished.parent == path.parent  # one file system: replace is atomic
        unfinished.write_text("new")


def test_cache_folder_by_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("QSEL_CACHE", "")
    assert cache_folder() != Path()
    monkeypatch.delenv("QSEL_CACHE")
    assert cache_folder().name == "qsel"


@pytest.mark.parametrize("below", [".", "below", "far/below"])
def test_a_cache_folder_that_cannot_be_made_is_replaced(below, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "file" / below))
    with pytest.warns(
        UserWarning, match="file.* cannot be written.*QSEL_CACHE"
    ) as told:
        instead = cache_folder()
        assert cache_folder() == instead  # and says so once
        assert cache_path("a/b").parent == instead / "a"
    assert len(told) == 1
    (instead / "a").mkdir(exist_ok=True)
    (instead / "a" / "b").write_text("kept")
    assert cache_path("a/b").read_text() == "kept"


def test_a_cache_folder_that_is_only_read(tmp_path, monkeypatch):
    """What it holds is used; anything else goes to a temporary folder."""

    def refuses(dir=None):
        raise PermissionError(errno.EACCES, "Permission denied", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuses)
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path))
    (tmp_path / "there").write_text("old")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache_path("there") == tmp_path / "there"
    with pytest.warns(UserWarning, match="permission denied.*QSEL_CACHE") as told:
        assert cache_path("new").parent not in (tmp_path, tmp_path.parent)
    assert len(told) == 1


def test_a_full_cache_folder_is_still_read(tmp_path, monkeypatch):
    def full(dir=None):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_the_temporary_folder_goes_with_the_process(tmp_path):
    (tmp_path / "file").touch()
    program = "from qsel.data.files import cache_folder; print(cache_folder(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"QSEL_CACHE": str(tmp_path / "file")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout and not Path(done.stdout).exists()
    assert done.stderr.count("QSEL_CACHE") == 1


def a_number(path: Path) -> int:
    return int(path.read_text())


def save(number: int, path: Path) -> None:
    path.write_text(str(number))


def test_what_is_cached_is_made_once(tmp_path):
    path, made_ones = tmp_path / "a" / "number", iter([3, 5])
    for _ in range(3):
        assert load_or_make(path, a_number, lambda: next(made_ones), save) == 3


@pytest.mark.parametrize("content", ["", "no number", None])
def test_a_broken_cache_file_is_made_again(content, tmp_path):
    path = tmp_path / "number"
    if content is None:  # a folder of that name cannot even be replaced
        path.mkdir()
    else:
        path.write_text(content)
    with pytest.warns(UserWarning, match=f"{path} cannot be used .*; making it again"):
        assert load_or_make(path, a_number, lambda: 3, save) == 3
    if content is not None:
        assert load_or_make(path, a_number, lambda: 5, save) == 3


def test_without_room_what_was_made_is_given_all_the_same(tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.warns(UserWarning, match="(?i)kept .*no space left.*QSEL_CACHE"):
        assert load_or_make(tmp_path / "a", a_number, lambda: 3, full) == 3
    assert not list(tmp_path.iterdir())


def test_a_failure_in_making_is_passed_on(tmp_path):
    def fails():
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        load_or_make(tmp_path / "a", a_number, fails, save)
    assert not list(tmp_path.iterdir())


def test_an_error_in_one_line():
    assert first_line(RuntimeError("\n one\n two")) == "one"
    assert first_line(IndexError()) == "IndexError"
    assert first_line(OSError(errno.ENOENT, "No such file", "/a")) == "no such file"


def test_no_room_is_one_sentence_and_keeps_what_was_there(tmp_path):
    """A system that lets no file grow beyond 64 KiB, as a full disk would."""
    program = """
import resource, sys
from pathlib import Path
import torch
from qsel.data.files import written_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
for path in map(Path, sys.argv[1:]):
    for content in (b"x" * 10**6, torch.zeros(10**6)):
        try:
            with written_whole(path) as unfinished:
                if isinstance(content, bytes):
                    unfinished.write_bytes(content)
                else:
                    torch.save(content, unfinished)
        except OSError as error:
            print(error)
"""
    (tmp_path / "there").write_text("old")
    paths = [str(tmp_path / "there"), str(tmp_path / "not_yet")]
    words = [sys.executable, "-c", program, *paths]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    told = [
        f"no room for {path} (file too large); {kept}: make room and run again"
        for path, kept in zip(
            paths, ("the previous one is kept", "nothing is written"), strict=True
        )
    ]
    # The same by the system and by torch.
    assert done.stdout.splitlines() == [told[0]] * 2 + [told[1]] * 2
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("there", "old")]


def test_other_failures_are_passed_on_as_they_are(tmp_path):
    for error in (RuntimeError("diverged"), OSError(errno.EIO, "broken")):
        with pytest.raises(type(error)) as raised, written_whole(tmp_path / "a") as new:
            new.write_text("half")
            raise error
        assert raised.value is error


def test_a_lock_is_held_by_one_and_freed_by_death(tmp_path):
    path = tmp_path / "a" / "lock"
    program = """
import sys, time
from pathlib import Path
from qsel.data.files import locked
with locked(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(60)
"""
    words = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "True\n"
        try:
            with locked(path) as mine:
                assert not mine
        finally:
            holder.kill()
            holder.wait()
        with locked(path) as mine:
            assert mine
            with locked(path) as again:
                assert not again
    with locked(path) as mine:
        assert mine


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    assert made(tmp_path / "a" / "b") == made(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    for name in ("file", "file/below"):
        with pytest.raises(OSError, match=f"{name} is a file, or lies in one"):
            made(tmp_path / name)
    with pytest.raises(OSError, match="cannot be made: file name too long; give"):
        made(tmp_path / ("x" * 300))


def test_nothing_needs_a_module_of_one_system():
    """Windows has none of them."""
    package = Path(files.__file__).parent
    needed = re.compile(r"^\s*(?:import|from) (?:fcntl|resource|pwd|grp)\b", re.M)
    for path in package.rglob("*.py"):
        assert not needed.search(path.read_text(encoding="utf-8")), path.name
