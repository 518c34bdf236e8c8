"""The book: every notebook executed, stale pages named, the renderer called."""

import json
import shutil
import subprocess

import nbformat
import papermill
import pytest
import tiny
from tiny_notebook import failing, notebook, repository, without_kernel

from qsel.book import build, errata
from qsel.book.build import BookError, check, execute_all, render, stage
from qsel.book.execute import RUN
from qsel.book.pages import executed_from
from qsel.data.files import locked
from qsel.experiments.row_names import BY_DEFAULT, UNTRAINED
from qsel.experiments.table1 import run_folder


@pytest.fixture
def executed(monkeypatch):
    """Papermill's calls, made without a kernel."""
    calls = []
    monkeypatch.setattr(papermill, "execute_notebook", without_kernel(calls))
    return calls


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = repository(tmp_path / "root")
    tiny.as_folder(root / "photos")
    monkeypatch.chdir(root)
    return root


def execute(root, **options):
    return execute_all(root, "smoke", "photos", seeds=1, **options)


def test_every_row_and_seed_then_every_chapter(root, executed):
    execute_all(root, "smoke", "photos", seeds=2)
    runs = [(p["method"], p["seed"]) for name, p in executed if name == RUN]
    expected = [(row, 0) for row in BY_DEFAULT]
    expected += [(row, 1) for row in BY_DEFAULT if row not in UNTRAINED]
    assert sorted(runs) == sorted(expected)
    assert executed[-1] == ("chapter.ipynb", {"preset": "smoke"})
    pages = stage(root)
    assert (pages / "notebooks" / "chapter.ipynb").is_file()
    shown = executed_from(pages / "notebooks" / RUN)["parameters"]
    assert (shown["method"], shown["seed"]) == build.SHOWN
    # Again: nothing is executed; what went away of the sources goes away.
    count = len(executed)
    (root / "book" / "index.md").rename(root / "book" / "other.md")
    execute_all(root, "smoke", "photos", seeds=2)
    assert len(executed) == count
    assert [p.name for p in (pages / "book").glob("*.md")] == ["other.md"]


def test_a_chapter_that_shows_runs_follows_them(root, executed):
    notebook(root / "notebooks" / "chapter.ipynb", "", 'runs = ""')
    execute(root)
    count = len(executed)
    run = root / run_folder("runs", "photos", "smoke", "random", 0) / "record.json"
    record = json.loads(run.read_text())
    run.write_text(json.dumps(record | {"device": "another"}))
    execute(root)
    assert [name for name, _ in executed[count:]] == [RUN, "chapter.ipynb"]


def test_store_brings_back_what_is_still_a_notebook(root, executed):
    execute(root)
    source = root / "notebooks" / "chapter.ipynb"
    assert not executed_from(source)
    source.rename(source.with_name("renamed.ipynb"))
    execute(root, store=True)
    assert {p.name for p in (root / "notebooks").iterdir()} == {"renamed.ipynb", RUN}
    assert executed_from(root / "notebooks" / "renamed.ipynb")
    # What was stored is as fresh as what it was stored from.
    count = len(executed)
    execute(root)
    assert len(executed) == count


def test_a_run_that_failed_leaves_a_hole(root, monkeypatch):
    notebook(root / "notebooks" / "chapter.ipynb", "", 'runs = ""')
    failing(monkeypatch, lambda name, asked: asked.get("method") == "method2")
    (failed,) = execute(root, store=True)
    assert failed.startswith(f"method2, seed 0: {RUN}") and "cell 3" in failed
    assert executed_from(stage(root) / "notebooks" / "chapter.ipynb")
    # It is the run that a page shows. A page with a hole is not stored.
    text = (stage(root) / "notebooks" / RUN).read_text(encoding="utf-8")
    assert "could not be executed" in text and "run that this page shows" in text
    assert not any(map(executed_from, (root / "notebooks").iterdir()))


def test_a_chapter_that_failed_is_a_page_that_says_so(root, monkeypatch):
    chapter = root / "notebooks" / "chapter.ipynb"
    page = nbformat.read(notebook(chapter, "x", 'preset = ""'), as_version=4)
    page.cells[-1].outputs = [nbformat.v4.new_output("stream", text="of before")]
    page.metadata["qsel"] = {"fingerprint": {"cells": "of before"}}
    nbformat.write(page, chapter)
    notebook(root / "notebooks" / "other.ipynb", "", parameters="")
    failing(monkeypatch, lambda name, parameters: name == "chapter.ipynb")
    (failed,) = execute(root, store=True)
    assert failed.startswith("chapter: chapter.ipynb")
    written = nbformat.read(stage(root) / "notebooks" / "chapter.ipynb", as_version=4)
    nbformat.validate(written)
    title, said, *_, last = written.cells
    assert title.source == "# A page" and last.source == "x" and not last.outputs
    assert "could not be executed" in said.source and "1 / 0" in said.source
    assert not executed_from(stage(root) / "notebooks" / "chapter.ipynb")
    assert executed_from(stage(root) / "notebooks" / "other.ipynb")
    assert not executed_from(root / "notebooks" / "other.ipynb")
    # Mended, it is executed and stored with the others.
    failing(monkeypatch, lambda name, parameters: False)
    assert execute(root, store=True) == []
    assert all(map(executed_from, (root / "notebooks").iterdir()))


def test_one_book_at_a_time(root, executed):
    with locked(root / "_build" / "lock"), pytest.raises(BookError, match="another"):
        execute(root)
    assert not executed


# --- stored pages ----------------------------------------------------------------


def stale(root) -> dict[str, str]:
    """Stale page → reason."""
    with pytest.raises(BookError) as error:
        check(root)
    first, *lines = str(error.value).splitlines()
    assert first.startswith(f"{len(lines)} stored pages") and "--store" in first
    return dict(line.strip().split(": ", 1) for line in lines)


def test_a_stale_page_is_named_with_what_changed(root, executed):
    """In a repository as cloned: executed pages, and no runs."""
    chapter, bare = (root / "notebooks" / f"{n}.ipynb" for n in ("chapter", "bare"))
    notebook(chapter, "table1.recorded()", 'preset = ""\nruns = ""')
    notebook(bare, "print(1)", parameters="")
    record = root / "results" / "record.json"
    record.parent.mkdir()
    record.write_text("{}")
    execute(root, store=True)
    shutil.rmtree(root / "runs")
    shutil.rmtree(root / "_build")
    executed.clear()
    check(root)
    record.rename(root / "results" / "other.json")
    bare.write_text(bare.read_text().replace("print(1)", "print(2)"))
    notebook(root / "notebooks" / "new.ipynb", "print(1)", parameters="")
    (root / errata.PAGE).write_text("Something else.")
    assert stale(root) == {
        "notebooks/bare.ipynb": "cells changed",
        "notebooks/chapter.ipynb": "results changed",
        "notebooks/new.ipynb": "never executed by this version of the book",
        "book/_generated/errata-effects.md": "results changed",
    }
    assert not executed


def test_data_that_is_not_at_hand_is_said(root, executed, monkeypatch):
    execute(root, store=True)
    shutil.rmtree(root / "photos")
    monkeypatch.setattr("qsel.book.pages._data_fingerprint", _uncached)
    assert "photos" in stale(root)[f"notebooks/{RUN}"]


def _uncached(source):
    from qsel import data

    return data.load(source).train.fingerprint


# --- the renderer ----------------------------------------------------------------


def test_the_renderer_is_called(tmp_path, monkeypatch):
    calls = []

    def run(words, **options):
        calls.append(words)
        return subprocess.CompletedProcess(words, len(calls) - 1)

    monkeypatch.setattr(subprocess, "run", run)
    assert render(tmp_path, tmp_path) == tmp_path / "_build" / "html"
    assert "-W" not in calls[0] and "--config" not in calls[0]
    with pytest.raises(BookError, match="could not be rendered"):
        render(tmp_path, tmp_path, strict=True, config=tmp_path / "other.yml")
    assert "-W" in calls[1]
    assert calls[1][calls[1].index("--config") + 1] == str(tmp_path / "other.yml")
