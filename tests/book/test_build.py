"""The book: every notebook executed, stale pages named, the renderer called."""

import json
import shutil
import subprocess
from pathlib import Path

import nbformat
import papermill
import pytest
import tiny
from tiny_notebook import notebook, repository, without_kernel

from qsel.book import build, errata
from qsel.book.build import BookError, check, execute_all, render, stage
from qsel.book.execute import RUN
from qsel.book.pages import stored_fingerprint
from qsel.data.files import locked
from qsel.experiments.row_names import QUADRUPLETS, QUOTED, UNTRAINED
from qsel.experiments.table1 import run_folder

TRAINED = QUOTED + QUADRUPLETS  # what a table runs by default


@pytest.fixture
def executed(monkeypatch):
    """Papermill's calls, made without a kernel."""
    calls = []
    monkeypatch.setattr(papermill, "execute_notebook", without_kernel(calls))
    return calls


@pytest.fixture
def root(tmp_path):
    return repository(tmp_path / "root")


@pytest.fixture
def photos(tmp_path):
    return str(tiny.as_folder(tmp_path / "photos"))


def test_every_row_and_seed_then_every_chapter(root, photos, executed):
    execute_all(root, "smoke", photos, seeds=2)
    runs = [(p["method"], p["seed"]) for name, p in executed if name == RUN]
    expected = [(row, seed) for row in TRAINED for seed in (0, 1)]
    assert sorted(runs) == sorted(expected + [(row, 0) for row in UNTRAINED])
    assert executed[-1] == ("chapter.ipynb", {"preset": "smoke"})
    pages = stage(root)
    assert (pages / "notebooks" / "chapter.ipynb").is_file()
    shown = nbformat.read(pages / "notebooks" / RUN, as_version=4).metadata["qsel"]
    assert (shown["parameters"]["method"], shown["parameters"]["seed"]) == build.SHOWN
    assert (pages / "book" / "index.md").read_text() == "# Book"
    count = len(executed)
    execute_all(root, "smoke", photos, seeds=2)
    assert len(executed) == count
    # Sources are mirrored: what went away goes away.
    (root / "book" / "index.md").rename(root / "book" / "other.md")
    execute_all(root, "smoke", photos, seeds=2)
    assert len(executed) == count
    assert [p.name for p in (pages / "book").iterdir()] == ["other.md"]


def test_a_chapter_that_shows_runs_follows_them(root, photos, executed):
    notebook(root / "notebooks" / "chapter.ipynb", "", 'runs = ""')
    execute_all(root, "smoke", photos, seeds=1)
    count = len(executed)
    run = root / run_folder("runs", photos, "smoke", "random", 0) / "record.json"
    record = json.loads(run.read_text())
    run.write_text(json.dumps(record | {"device": "another"}))
    execute_all(root, "smoke", photos, seeds=1)
    assert [name for name, _ in executed[count:]] == [RUN, "chapter.ipynb"]


def test_store_brings_back_what_is_still_a_notebook(root, photos, executed):
    execute_all(root, "smoke", photos, seeds=1)
    source = root / "notebooks" / "chapter.ipynb"
    assert "qsel" not in nbformat.read(source, as_version=4).metadata
    source.rename(source.with_name("renamed.ipynb"))
    execute_all(root, "smoke", photos, seeds=1, store=True)
    names = sorted(p.name for p in (root / "notebooks").iterdir())
    assert names == ["renamed.ipynb", RUN]
    stored = nbformat.read(root / "notebooks" / "renamed.ipynb", as_version=4)
    assert "qsel" in stored.metadata
    # What was stored is as fresh as what it was stored from.
    count = len(executed)
    execute_all(root, "smoke", photos, seeds=1)
    assert len(executed) == count


def failing(monkeypatch, fails):
    """Papermill without a kernel, but for notebooks and parameters that fail."""
    work = without_kernel([])

    def execute(source, page, parameters, **options):
        if fails(Path(source).name, parameters):
            raise papermill.exceptions.PapermillExecutionError(
                1, 3, "1 / 0", "ZeroDivisionError", "division by zero", ["1 / 0"]
            )
        work(source, page, parameters, **options)

    monkeypatch.setattr(papermill, "execute_notebook", execute)


def test_all_failures_are_named(root, photos, monkeypatch):
    failing(monkeypatch, lambda name, parameters: True)
    failed = execute_all(root, "smoke", photos, seeds=1)
    assert len(failed) == len(TRAINED) + len(UNTRAINED) + 1
    for row in (*TRAINED, *UNTRAINED):
        assert any(text.startswith(f"{row}, seed 0: {RUN}") for text in failed)
    assert all("cell 3" in text.splitlines()[0] for text in failed)


def test_a_run_that_failed_leaves_a_hole(root, photos, monkeypatch):
    notebook(root / "notebooks" / "chapter.ipynb", "", 'runs = ""')
    failing(monkeypatch, lambda name, parameters: parameters.get("method") == "random")
    (failed,) = execute_all(root, "smoke", photos, seeds=1, store=True)
    assert failed.startswith("random, seed 0")
    staged = stage(root) / "notebooks"
    assert stored_fingerprint(staged / "chapter.ipynb")
    assert stored_fingerprint(staged / RUN)  # of another run
    for page in (root / "notebooks").iterdir():
        assert not stored_fingerprint(page)  # a page with a hole is not stored
    assert (stage(root) / "book" / "index.md").is_file()


def test_the_shown_run_failed(root, photos, monkeypatch):
    failing(monkeypatch, lambda name, parameters: parameters.get("method") == "method2")
    assert len(execute_all(root, "smoke", photos, seeds=1)) == 1
    text = (stage(root) / "notebooks" / RUN).read_text(encoding="utf-8")
    assert "could not be executed" in text and "run that this page shows" in text


def test_a_chapter_that_failed_is_a_page_that_says_so(root, photos, monkeypatch):
    with_outputs = notebook(root / "notebooks" / "chapter.ipynb", "x", 'preset = ""')
    page = nbformat.read(with_outputs, as_version=4)
    page.cells[-1].outputs = [nbformat.v4.new_output("stream", text="of before")]
    page.metadata["qsel"] = {"fingerprint": {"cells": "of before"}}
    nbformat.write(page, with_outputs)
    notebook(root / "notebooks" / "other.ipynb", "", parameters="")
    failing(monkeypatch, lambda name, parameters: name == "chapter.ipynb")
    (failed,) = execute_all(root, "smoke", photos, seeds=1, store=True)
    assert failed.startswith("chapter: chapter.ipynb")
    written = nbformat.read(stage(root) / "notebooks" / "chapter.ipynb", as_version=4)
    nbformat.validate(written)
    title, said, *_, last = written.cells
    assert title.source == "# A page" and last.source == "x" and not last.outputs
    assert "could not be executed" in said.source and "1 / 0" in said.source
    assert not stored_fingerprint(stage(root) / "notebooks" / "chapter.ipynb")
    assert stored_fingerprint(stage(root) / "notebooks" / "other.ipynb")
    assert not stored_fingerprint(root / "notebooks" / "other.ipynb")
    # Mended, it is executed and stored with the others.
    failing(monkeypatch, lambda name, parameters: False)
    assert execute_all(root, "smoke", photos, seeds=1, store=True) == []
    assert stored_fingerprint(root / "notebooks" / "chapter.ipynb")
    assert stored_fingerprint(root / "notebooks" / "other.ipynb")


def test_no_book_here(tmp_path):
    with pytest.raises(BookError, match="run from the root of the repository"):
        execute_all(tmp_path, "smoke", "synthcars")


def test_one_book_at_a_time(root, photos, executed):
    with locked(root / "_build" / "lock"), pytest.raises(BookError, match="another"):
        execute_all(root, "smoke", photos)
    assert not executed


# --- stored pages ----------------------------------------------------------------


@pytest.fixture
def stored(root, photos, executed):
    """A repository as cloned: executed pages, and no runs."""
    chapter = root / "notebooks" / "chapter.ipynb"
    notebook(chapter, "table1.recorded()", 'preset = ""\nruns = ""')
    notebook(root / "notebooks" / "bare.ipynb", "print(1)", parameters="")
    (root / "results").mkdir()
    (root / "results" / "record.json").write_text("{}")
    shutil.copytree(photos, root / "photos")
    execute_all(root, "smoke", photos, seeds=1, store=True)
    shutil.rmtree(root / "runs")
    shutil.rmtree(root / "_build")
    executed.clear()
    return root


@pytest.fixture(autouse=True)
def at_the_root(tmp_path, monkeypatch):
    (tmp_path / "root").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "root")  # where a page finds "photos"


def why(root) -> dict[str, str]:
    """Stale page → reason."""
    with pytest.raises(BookError) as error:
        check(root)
    first, *lines = str(error.value).splitlines()
    assert first.startswith(f"{len(lines)} stored pages") and "--store" in first
    return dict(
        line.strip().removeprefix("notebooks/").split(": ", 1) for line in lines
    )


def edit(page, old, new):
    text = page.read_text(encoding="utf-8")
    assert old in text
    page.write_text(text.replace(old, new), encoding="utf-8")


def test_a_fresh_clone_has_no_stale_page(stored, executed):
    check(stored)
    assert not executed


def test_a_stale_page_is_named_with_what_changed(stored):
    (stored / "results" / "record.json").write_text('{"a": 1}')
    assert why(stored) == {"chapter.ipynb": "results changed"}
    (stored / "results" / "record.json").write_text("{}")
    edit(stored / "notebooks" / "bare.ipynb", "print(1)", "print(2)")
    assert why(stored) == {"bare.ipynb": "cells changed"}
    edit(stored / "notebooks" / "bare.ipynb", "print(2)", "print(1)")
    check(stored)
    edit(stored / "notebooks" / "chapter.ipynb", "preset = 'smoke'", "preset = 'x'")
    assert "parameters are no longer" in why(stored)["chapter.ipynb"]


def test_other_versions_are_seen(stored, monkeypatch):
    monkeypatch.setattr("qsel.book.pages._versions", lambda: "9.9")
    assert set(why(stored).values()) == {"versions changed"} and len(why(stored)) == 3


def test_a_parameter_that_is_gone_is_seen(stored):
    page = nbformat.read(stored / "notebooks" / "chapter.ipynb", as_version=4)
    page.cells[1].source = 'preset = ""'
    nbformat.write(page, stored / "notebooks" / "chapter.ipynb")
    assert "no parameter 'runs'" in why(stored)["chapter.ipynb"]


def test_a_page_that_was_never_executed_is_named(stored):
    notebook(stored / "notebooks" / "new.ipynb", "print(1)", parameters="")
    assert why(stored) == {"new.ipynb": "never executed by this version of the book"}


def test_lines_of_the_errata_are_pages_too(stored, photos, executed):
    effects = stored / errata.PAGE
    errata.write(stored)
    check(stored)
    made = effects.read_text()
    effects.write_text("Something else.")
    with pytest.raises(BookError, match="errata-effects.md: results changed"):
        check(stored)
    # A build shows what the records give, and brings it back only if asked to.
    execute_all(stored, "smoke", photos, seeds=1)
    assert (stage(stored) / errata.PAGE).read_text() == made
    assert effects.read_text() == "Something else."
    execute_all(stored, "smoke", photos, seeds=1, store=True)
    assert effects.read_text() == made


def test_data_that_is_not_at_hand_is_said(stored, monkeypatch):
    shutil.rmtree(stored / "photos")
    monkeypatch.setattr("qsel.book.pages._data_fingerprint", _uncached)
    assert "photos" in why(stored)[RUN]


def _uncached(source):
    from qsel import data

    return data.load(source).train.fingerprint


# --- the renderer ----------------------------------------------------------------


def test_render_fails_with_the_renderer(tmp_path, monkeypatch):
    calls = []

    def run(words, **options):
        calls.append(words)
        return subprocess.CompletedProcess(words, len(calls) - 1)

    monkeypatch.setattr(subprocess, "run", run)
    assert render(tmp_path, tmp_path) == tmp_path / "_build" / "html" / "index.html"
    assert "-W" not in calls[0]
    with pytest.raises(BookError, match="could not be rendered"):
        render(tmp_path, tmp_path, strict=True)
    assert "-W" in calls[1]


def test_render_with_other_settings(tmp_path, monkeypatch):
    calls = []

    def run(words, **options):
        calls.append(words)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", run)
    render(tmp_path, tmp_path)
    assert "--config" not in calls[0]
    render(tmp_path, tmp_path, config=tmp_path / "other.yml")
    assert calls[1][calls[1].index("--config") + 1] == str(tmp_path / "other.yml")


def test_without_sources_nothing_is_fresh(tmp_path):
    with pytest.raises(BookError, match="run from the root of the repository"):
        check(tmp_path)
