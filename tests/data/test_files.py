"""Files written whole or not at all, locks, and caches that heal."""

import atexit
import errno
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from qsel.data.files import (
    cache_path,
    load_or_make,
    locked,
    made,
    written_whole,
)


def test_makes_the_folder_and_leaves_only_the_file(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    with written_whole(path) as unfinished:
        assert str(os.getpid()) in unfinished.name  # no other process takes it
        assert unfinished.parent == path.parent  # one file system: replace is atomic
        unfinished.write_text("new")
        assert not path.exists()
    assert [p.name for p in path.parent.iterdir()] == ["c.txt"]
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    "error", [RuntimeError("diverged"), OSError(errno.EIO, "broken"), SystemExit()]
)
def test_a_failed_block_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "c.txt"
    path.write_text("old")
    with pytest.raises(type(error)) as raised, written_whole(path) as unfinished:
        unfinished.write_text("ne")
        raise error
    assert raised.value is error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError), written_whole(path):
        pass  # a block that writes nothing
    assert path.read_text() == "old"


def test_no_room_is_one_sentence_and_keeps_what_was_there(tmp_path):
    """A system that lets no file grow beyond 64 KiB, as a full disk would."""
    (tmp_path / "there").write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name, kept in (("there", "previous one is kept"), ("new", "is written")):
        for save in (
            lambda path: path.write_bytes(b"x" * 10**6),
            lambda path: torch.save(torch.zeros(10**6), path),
        ):
            resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
            try:
                with (
                    pytest.raises(OSError, match=rf"no room for .*{name}.*{kept}"),
                    written_whole(tmp_path / name) as unfinished,
                ):
                    save(unfinished)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("there", "old")]


def test_the_cache_folder_by_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path))
    assert cache_path("a") == tmp_path / "a"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home of Zoë"))
    monkeypatch.setenv("HOME", str(tmp_path / "home of Zoë"))
    monkeypatch.setenv("QSEL_CACHE", "")
    assert cache_path("a").parent.name == "qsel"
    assert cache_path("a").is_relative_to(tmp_path)


@pytest.mark.parametrize("below", [".", "far/below"])
def test_a_cache_folder_that_cannot_be_made_is_replaced(below, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    ended = []
    monkeypatch.setattr(atexit, "register", lambda *call, **_: ended.append(call))
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "file" / below))
    with pytest.warns(
        UserWarning, match="file.* cannot be written.*QSEL_CACHE"
    ) as told:
        instead = cache_path("a/b").parents[1]
        assert cache_path("c").parent == instead  # and says so once
    assert len(told) == 1
    (instead / "a").mkdir()
    (instead / "a" / "b").write_text("kept")
    assert cache_path("a/b").read_text() == "kept"
    ((remove, *given),) = ended  # what is called when the process ends
    remove(*given)
    assert not instead.exists()


def test_a_cache_folder_that_is_only_read(tmp_path, monkeypatch):
    """What it holds is used; anything else goes to a temporary folder."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write all
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path))
    (tmp_path / "there").write_text("old")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache_path("there") == tmp_path / "there"
    with pytest.warns(UserWarning, match="permission denied.*QSEL_CACHE"):
        assert cache_path("new").parent != tmp_path


def a_number(path: Path) -> int:
    return int(path.read_text())


def save(number: int, path: Path) -> None:
    path.write_text(str(number))


def test_what_is_cached_is_made_once(tmp_path):
    path, made_ones = tmp_path / "a" / "number", iter([3, 5])
    for _ in range(3):
        assert load_or_make(path, a_number, lambda: next(made_ones), save) == 3


@pytest.mark.parametrize("content", ["", "no number"])
def test_a_broken_cache_file_is_made_again(content, tmp_path):
    path = tmp_path / "number"
    path.write_text(content)
    with pytest.warns(UserWarning, match=f"{path} cannot be used .*; making it again"):
        assert load_or_make(path, a_number, lambda: 3, save) == 3
    assert load_or_make(path, a_number, lambda: 5, save) == 3


def test_without_room_what_was_made_is_given_all_the_same(tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.warns(UserWarning, match="kept .*no room for.*QSEL_CACHE"):
        assert load_or_make(tmp_path / "a", a_number, lambda: 3, full) == 3
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="No space"):  # in making: passed on
        load_or_make(tmp_path / "a", a_number, full, save)


def test_a_lock_is_held_by_one_and_freed_by_death(tmp_path):
    path = tmp_path / "a" / "lock"
    with locked(path) as mine, locked(path) as again:
        assert mine and not again
    program = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""
    words = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        try:
            with locked(path) as mine:
                assert not mine
        finally:
            holder.kill()
            holder.wait()
    with locked(path) as mine:
        assert mine


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    assert made(tmp_path / "a" / "b") == made(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    for name, why in (("file", "file exists"), ("x" * 300, "file name too long")):
        with pytest.raises(OSError, match=f"{name} cannot be made: {why}; give"):
            made(tmp_path / name)
