import os

import pytest

from qsel.data import remembered

SETTLED = remembered.SETTLED
HOUR = 3600 * 10**9


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "files"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three files that count as settled at once: a stand-in for waiting."""
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    monkeypatch.setattr(remembered, "SETTLED", -HOUR)
    return paths


class Reader:
    """Reads a file, and counts how often it was asked to."""

    def __init__(self):
        self.asked = 0

    def __call__(self, path):
        self.asked += 1
        if path.read_text() == "bad":
            raise ValueError("it is bad")
        return path.read_text()


def answers(read, paths, question="text"):
    return remembered.answers(question, read, paths, "reading")


def test_a_file_that_stays_is_read_once(files):
    read = Reader()
    answers(read, files[:2])
    for _ in range(3):
        assert answers(read, files) == (["a", "b", "c"], {})
    assert read.asked == 3
    answers(read, files, "another question")
    assert read.asked == 6


def test_a_file_of_a_moment_ago_is_not_trusted(files, monkeypatch):
    monkeypatch.setattr(remembered, "SETTLED", SETTLED)
    read = Reader()
    for _ in range(2):
        answers(read, files)
    assert read.asked == 6


def test_a_change_that_keeps_size_and_time_is_seen(files):
    read = Reader()
    answers(read, files)
    was = files[1].stat()
    files[1].write_text("x")
    os.utime(files[1], ns=(was.st_atime_ns, was.st_mtime_ns))
    assert answers(read, files) == (["a", "x", "c"], {})
    assert read.asked == 4


def test_a_problem_is_named_and_asked_again(files):
    files[1].write_text("bad")
    read = Reader()
    for asked in (3, 4):
        found, problems = answers(read, files)
        assert found == ["a", "c"]
        assert problems == {files[1]: f"{files[1]}: it is bad"}
        assert read.asked == asked


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-3], lambda text: text.replace('"a"', '"z"')]
)
def test_a_damaged_cache_heals(files, cache, damage):
    read = Reader()
    answers(read, files)
    (store,) = cache.iterdir()
    store.write_text(damage(store.read_text()))
    for asked in (6, 6):
        assert answers(read, files)[0] == ["a", "b", "c"]
        assert read.asked == asked


def test_a_cache_that_cannot_be_written_changes_no_answer(files, cache):
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    for _ in range(2):
        assert answers(Reader(), files)[0] == ["a", "b", "c"]
