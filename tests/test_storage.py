"""Files written whole or not at all."""

import os
from pathlib import Path

import pytest

from qsel.storage import cache_folder, written_whole


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
