"""Files written whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qsel.storage import cache_folder, locked, made, written_whole


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
    monkeypatch.setenv("QSEL_CACHE", "")
    assert cache_folder() != Path()
    monkeypatch.delenv("QSEL_CACHE")
    assert cache_folder().name == "qsel"


def test_no_room_is_one_sentence_and_keeps_what_was_there(tmp_path):
    """A system that lets no file grow beyond 64 KiB, as a full disk would."""
    program = """
import resource, sys
from pathlib import Path
import torch
from qsel.storage import written_whole
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
from qsel.storage import locked
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
