"""Executing notebooks: strict parameters, fresh pages, clean outputs."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import nbformat
import papermill
import pytest
import tiny

from qsel import book
from qsel.book import BookError, execute, execute_all, fingerprint, render, stage
from qsel.table1 import METHODS, run_folder

CODE = """\
import sys, time
from pathlib import Path
print("working")
print("progress", file=sys.stderr)
print(Path("mark.txt").read_text(), word, number + 1)
if word == "fail":
    raise ValueError("asked to")
"""


def notebook(path: Path, code=CODE, parameters='word = "none"\nnumber = 0') -> Path:
    cells = [nbformat.v4.new_markdown_cell("# A page")]
    if parameters:
        cell = nbformat.v4.new_code_cell(parameters)
        cell.metadata["tags"] = ["parameters"]
        cells.append(cell)
    cells.append(nbformat.v4.new_code_cell(code))
    written = nbformat.v4.new_notebook(cells=cells)
    written.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(written, path)
    return path


@pytest.fixture
def executed(monkeypatch):
    """Papermill's calls, made without a kernel: the parameters are written in."""
    calls = []

    def pretend(source, page, parameters, **options):
        calls.append((Path(source).name, dict(parameters)))
        written = nbformat.read(source, as_version=4)
        cell = nbformat.v4.new_code_cell(
            "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
        )
        cell.metadata["tags"] = ["injected-parameters"]
        written.cells.insert(2, cell)
        nbformat.write(written, page)
        if {"runs", "method"} <= set(parameters):  # what the run notebook leaves
            keys = ("runs", "data", "preset", "method", "seed")
            folder = Path(options["cwd"], run_folder(*(parameters[k] for k in keys)))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "record.json").touch()

    monkeypatch.setattr(papermill, "execute_notebook", pretend)
    return calls


def test_a_page_is_executed_and_tidied(tmp_path, capfd):
    """The only test here that starts kernels."""
    source = notebook(tmp_path / "notebooks" / "page.ipynb")
    (tmp_path / "mark.txt").write_text("seen")
    page = tmp_path / "pages" / "page.ipynb"
    execute(source, page, {"word": "hello", "number": 4}, tmp_path)
    done = nbformat.read(page, as_version=4)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert [output["name"] for output in outputs] == ["stdout"]
    assert outputs[0]["text"] == "working\nseen hello 5\n"
    text = page.read_text(encoding="utf-8")
    for mark in ("papermill", "start_time", "iopub", "duration", str(tmp_path)):
        assert mark not in text
    assert "progress" in capfd.readouterr().err  # shown while it ran
    assert [p.name for p in page.parent.iterdir()] == ["page.ipynb"]
    # A failing cell is named; the page of before stays.
    with pytest.raises(BookError) as error:
        execute(source, page, {"word": "fail"}, tmp_path)
    message = str(error.value)
    assert "page.ipynb, cell" in message and "ValueError: asked to" in message
    assert "'word': 'fail'" in message
    assert page.read_text(encoding="utf-8") == text


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path, executed):
    source = notebook(tmp_path / "page.ipynb")
    with pytest.raises(BookError) as error:
        execute(source, tmp_path / "out.ipynb", {"wrod": 1, "number": 2}, tmp_path)
    assert "declares no parameter 'wrod'" in str(error.value)
    assert "word, number" in str(error.value)
    bare = notebook(tmp_path / "bare.ipynb", parameters="")
    with pytest.raises(BookError, match="it has none"):
        execute(bare, tmp_path / "out.ipynb", {"word": 1}, tmp_path)
    assert not executed and not (tmp_path / "out.ipynb").exists()


def test_a_fresh_page_is_not_executed_again(tmp_path, executed):
    source, page = notebook(tmp_path / "page.ipynb"), tmp_path / "out" / "page.ipynb"
    for parameters in ({"word": "a"}, {"word": "a"}):
        execute(source, page, parameters, tmp_path)
    assert len(executed) == 1
    execute(source, page, {"word": "b"}, tmp_path)
    assert len(executed) == 2
    notebook(source, CODE + "\nprint(1)")
    execute(source, page, {"word": "b"}, tmp_path)
    assert len(executed) == 3
    page.unlink()
    execute(source, page, {"word": "b"}, tmp_path)
    assert len(executed) == 4


def test_storing_a_page_keeps_it_fresh(tmp_path, executed):
    """The executed notebook has the same fingerprint as the one it came from."""
    source, page = notebook(tmp_path / "page.ipynb"), tmp_path / "out.ipynb"
    execute(source, page, {"word": "a"}, tmp_path)
    wanted = fingerprint(source, {"word": "a"})
    shutil.copy(page, source)
    assert fingerprint(source, {"word": "a"}) == wanted
    execute(source, page, {"word": "a"}, tmp_path)
    assert len(executed) == 1


def test_the_fingerprint_follows_the_data(tmp_path):
    source = notebook(tmp_path / "page.ipynb", parameters='data = ""')
    photos = tiny.as_folder(tmp_path / "photos")
    before = in_a_new_program().fingerprint(source, {"data": str(photos)})
    assert fingerprint(source, {"data": str(photos)}) == before
    next(photos.rglob("*.png")).write_bytes(b"other")
    assert in_a_new_program().fingerprint(source, {"data": str(photos)}) != before


def in_a_new_program():
    """The module as another program would have it: nothing is remembered."""
    spec = importlib.util.spec_from_file_location("another_book", book.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_path_of_the_machine_in_a_page(tmp_path, executed):
    source = notebook(tmp_path / "page.ipynb", parameters='data = ""')
    photos = tiny.as_folder(tmp_path / "photos")
    page = tmp_path / "out.ipynb"
    for _ in range(2):
        execute(source, page, {"data": str(photos)}, tmp_path)
        text = page.read_text(encoding="utf-8")
        assert str(tmp_path) not in text and "photos" in text
    assert len(executed) == 1


@pytest.fixture
def repository(tmp_path):
    """A root with a run notebook and one chapter."""
    root = tmp_path / "root"
    names = ["method", "preset", "data", "runs", "settings"]
    declared = "\n".join([*(f'{name} = ""' for name in names), "seed = 0"])
    notebook(root / "notebooks" / book.RUN, "", declared)
    notebook(root / "notebooks" / "chapter.ipynb", "", 'preset = ""')
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (root / "book").mkdir()
    (root / "book" / "index.md").write_text("# Book")
    return root


def test_every_row_and_seed_then_every_chapter(repository, tmp_path, executed):
    photos = str(tiny.as_folder(tmp_path / "photos"))
    execute_all(repository, "smoke", photos, seeds=2)
    runs = [(p["method"], p["seed"]) for name, p in executed if name == book.RUN]
    assert sorted(runs) == sorted((m, s) for m in METHODS for s in (0, 1))
    assert executed[-1] == ("chapter.ipynb", {"preset": "smoke"})
    pages = stage(repository)
    assert (pages / "notebooks" / "chapter.ipynb").is_file()
    assert (pages / "notebooks" / book.RUN).is_file()
    assert (pages / "book" / "index.md").read_text() == "# Book"
    count = len(executed)
    execute_all(repository, "smoke", photos, seeds=2)
    assert len(executed) == count
    run = run_folder("runs", photos, "smoke", "random", 1)
    (repository / run / "record.json").unlink()
    execute_all(repository, "smoke", photos, seeds=2)
    again = [(p["method"], p["seed"]) for _, p in executed[count:] if "seed" in p]
    assert again == [("random", 1)]
    # Sources are mirrored: what went away goes away.
    (repository / "book" / "index.md").rename(repository / "book" / "other.md")
    execute_all(repository, "smoke", photos, seeds=2)
    assert [p.name for p in (pages / "book").iterdir()] == ["other.md"]


def test_store_brings_back_what_is_still_a_notebook(repository, tmp_path, executed):
    photos = str(tiny.as_folder(tmp_path / "photos"))
    execute_all(repository, "smoke", photos, seeds=1)
    source = repository / "notebooks" / "chapter.ipynb"
    assert "qsel" not in nbformat.read(source, as_version=4).metadata
    source.rename(source.with_name("renamed.ipynb"))
    execute_all(repository, "smoke", photos, seeds=1, store=True)
    names = sorted(p.name for p in (repository / "notebooks").iterdir())
    assert names == ["renamed.ipynb", book.RUN]
    stored = nbformat.read(repository / "notebooks" / "renamed.ipynb", as_version=4)
    assert "qsel" in stored.metadata


def test_all_failures_are_named(repository, tmp_path, monkeypatch):
    def fail(source, page, parameters, **options):
        raise papermill.exceptions.PapermillExecutionError(
            1, 3, "1 / 0", "ZeroDivisionError", "division by zero", ["trace"]
        )

    monkeypatch.setattr(papermill, "execute_notebook", fail)
    photos = str(tiny.as_folder(tmp_path / "photos"))
    with pytest.raises(BookError) as error:
        book.run_table(repository, "smoke", photos, "runs", seeds=1)
    for method in METHODS:
        assert f"'method': '{method}'" in str(error.value)
    assert str(error.value).count("ZeroDivisionError") == len(METHODS)


def test_no_book_here(tmp_path):
    with pytest.raises(BookError, match="run from the root of the repository"):
        execute_all(tmp_path, "smoke", "synthcars")


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


def test_styled_tables_are_numbered_in_order():
    def table(name):
        html = f'<style>#T_{name}_row0 {{}}</style><table id="T_{name}">'
        data = {"text/html": html}
        return nbformat.v4.new_code_cell(
            outputs=[nbformat.v4.new_output("display_data", data)]
        )

    page = nbformat.v4.new_notebook(cells=[table("0af3b"), table("99c01")])
    book._number_tables(page)
    found = [cell.outputs[0].data["text/html"] for cell in page.cells]
    assert found[0] == '<style>#T_0_row0 {}</style><table id="T_0">'
    assert found[1].endswith('<table id="T_1">')
