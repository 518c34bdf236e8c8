"""What a page was made from, part by part; and what is taken off it."""

import ast
import importlib.util
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
import tiny
from tiny_notebook import notebook

from qsel.book import pages
from qsel.book.pages import executed_from, fingerprint, tidy


def changed(before: dict, after: dict) -> set[str]:
    assert before.keys() == after.keys()
    return {part for part in before if before[part] != after[part]}


def another_program(package: Path = Path(pages.__file__).parents[1]):
    """The module as another program would have it: nothing is remembered."""
    path = package / "book" / "pages.py"
    spec = importlib.util.spec_from_file_location("another", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_part_follows_what_it_is_named_after(tmp_path, monkeypatch):
    source = notebook(tmp_path / "page.ipynb", "table1.recorded()")
    record = tmp_path / "runs" / "record.json"
    committed = tmp_path / "results" / "a" / "record.json"
    for path in (record, committed):
        path.parent.mkdir(parents=True)
        path.write_text("{}")

    def now(**parameters):
        return fingerprint(source, parameters, tmp_path, [record])

    first = now(word="a")
    assert set(first) == {
        *("cells", "drawing", "answers", "parameters", "data", "versions"),
        *("results", "runs"),
    }
    assert changed(first, now(word="b")) == {"parameters"}
    record.write_text('{"a": 1}')
    assert changed(first, now(word="a")) == {"runs"}
    record.write_text("{}")
    committed.write_text('{"a": 1}')
    assert changed(first, now(word="a")) == {"results"}
    committed.write_text("{}")
    assert now(word="a") == first
    written = nbformat.read(source, as_version=4)
    written.cells[-1].metadata = {"mystnb": {"image": {"alt": "other words"}}}
    nbformat.write(written, source)
    assert changed(first, now(word="a")) == {"cells"}
    notebook(source, "table1.recorded() ")
    assert changed(first, now(word="a")) == {"cells"}
    notebook(source, "table1.recorded()")
    monkeypatch.setattr(pages, "RESULTS_VERSION", 2)
    assert changed(first, now(word="a")) == {"answers"}
    monkeypatch.undo()
    monkeypatch.setattr(pages, "version", lambda name: "9.9")
    pages._versions.cache_clear()
    assert changed(first, now(word="a")) == {"versions"}
    pages._versions.cache_clear()


@pytest.mark.parametrize(
    ("code", "reads"),
    [
        ("table1.gather(table1.recorded())", "results"),
        ("ablations.RECORDED", "results"),
        ("timings.peer_bars(cpu)", "benchmarks/results"),
        ("print(1)", None),
    ],
)
def test_only_pages_that_read_results_depend_on_them(tmp_path, code, reads):
    source = notebook(tmp_path / "page.ipynb", code)
    before = fingerprint(source, {}, tmp_path)
    for folder in ("results", "benchmarks/results"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "cpu.json").write_text("{}")
        after = fingerprint(source, {}, tmp_path)
        assert changed(before, after) == ({"results"} if folder == reads else set())
        before = after


def test_the_fingerprint_follows_the_data(tmp_path):
    source = notebook(tmp_path / "page.ipynb", parameters='data = ""')
    photos = {"data": str(tiny.as_folder(tmp_path / "photos"))}
    before = another_program().fingerprint(source, photos, tmp_path)
    assert fingerprint(source, photos, tmp_path) == before
    next((tmp_path / "photos").rglob("*.png")).write_bytes(b"other")
    after = another_program().fingerprint(source, photos, tmp_path)
    assert changed(before, after) == {"data"}


def test_what_draws_for_a_page_counts_and_nothing_else(tmp_path):
    package = tmp_path / "qsel"
    figures = package / "book" / "figures"
    figures.mkdir(parents=True)
    shutil.copy(pages.__file__, package / "book" / "pages.py")
    code = "%matplotlib inline\nfrom qsel.book.figures import a"
    source = notebook(tmp_path / "page.ipynb", code)

    def now(a, b):
        (figures / "a.py").write_text(a)
        (figures / "b.py").write_text(b)
        return another_program(package).fingerprint(source, {}, tmp_path)

    a, b = (
        "from qsel.book.figures import b\nx = b.draw()\n",
        "def draw():\n    return 1",
    )
    before = now(a, b)
    (figures / "c.py").write_text("x = 'draws other pages'")
    (package / "losses.py").write_text("x = 'computes'")
    assert now(f'"""Words."""\n{a}# a comment', b) == before
    assert changed(before, now(a, b.replace("1", "2"))) == {"drawing"}
    assert changed(before, now(f"{a}SHADE = 0.1", b)) == {"drawing"}


def test_an_executed_page_has_the_fingerprint_of_its_source(tmp_path):
    source = notebook(tmp_path / "page.ipynb")
    assert executed_from(source) == {}
    page = nbformat.read(source, as_version=4)
    cell = nbformat.v4.new_code_cell("word = 'a'\nnumber = 3")
    cell.metadata["tags"] = ["injected-parameters"]
    page.cells[0].metadata["tags"] = []  # as papermill leaves it
    page.cells.insert(2, cell)
    page.cells[-1].outputs = [nbformat.v4.new_output("stream", text="hello")]
    parameters = {"word": "a", "number": 3}
    tidy(page, parameters)
    wanted = fingerprint(source, parameters, tmp_path)
    page.metadata["qsel"] = {"fingerprint": wanted, "parameters": parameters}
    executed = tmp_path / "executed.ipynb"
    nbformat.write(page, executed)
    assert fingerprint(executed, parameters, tmp_path) == wanted
    assert executed_from(executed) == page.metadata["qsel"]


def test_styled_tables_are_numbered_in_order():
    def table(name):
        html = f'<style>#T_{name}_row0 {{}}</style><table id="T_{name}">'
        data = {"text/html": html}
        return nbformat.v4.new_code_cell(
            outputs=[nbformat.v4.new_output("display_data", data)]
        )

    page = nbformat.v4.new_notebook(cells=[table("0af3b"), table("99c01")])
    tidy(page, {})
    found = [cell.outputs[0].data["text/html"] for cell in page.cells]
    assert found[0] == '<style>#T_0_row0 {}</style><table id="T_0">'
    assert found[1].endswith('<table id="T_1">')


def test_syntax_trees_are_built_in_one_thread_at_a_time(tmp_path, monkeypatch):
    """In several at once, Python 3.11 raises SystemError now and then."""
    source = notebook(tmp_path / "page.ipynb", "from qsel.book.figures import maps")
    real, busy, most = ast.parse, [], []

    def parse(text):
        busy.append(1)
        most.append(len(busy))
        time.sleep(0.001)
        busy.pop()
        return real(text)

    monkeypatch.setattr(pages.ast, "parse", parse)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fingerprint(source, {}, tmp_path), range(4)))
    assert max(most) == 1
