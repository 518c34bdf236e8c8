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
from qsel.book.pages import fingerprint, stored_fingerprint, stored_parameters, tidy


def changed(before: dict, after: dict) -> set[str]:
    assert before.keys() == after.keys()
    return {part for part in before if before[part] != after[part]}


def another_program(package: Path = Path(pages.__file__).parents[1]):
    """The module as another program would have it: nothing is remembered."""
    spec = importlib.util.spec_from_file_location(
        "another", package / "book" / "pages.py"
    )
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
    assert now(word="a") == first
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
    notebook(source, "table1.recorded() ")
    assert changed(first, now(word="a")) == {"cells"}
    notebook(source, "table1.recorded()")
    real = pages.version
    monkeypatch.setattr(
        pages, "version", lambda name: "9.9" if name == "torch" else real(name)
    )
    pages._versions.cache_clear()
    assert changed(first, now(word="a")) == {"versions"}
    monkeypatch.undo()
    pages._versions.cache_clear()


@pytest.mark.parametrize(
    ("code", "reads"),
    [
        ("table1.gather(table1.recorded())", True),
        ('Path("../results/tuning")', True),
        ("ablations.RECORDED", True),
        ("from qsel.book.figures import outcomes", False),
        ("print(1)", False),
    ],
)
def test_only_pages_that_read_results_depend_on_them(tmp_path, code, reads):
    source = notebook(tmp_path / "page.ipynb", code)
    before = fingerprint(source, {}, tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "record.json").write_text("{}")
    after = fingerprint(source, {}, tmp_path)
    assert changed(before, after) == ({"results"} if reads else set())


@pytest.mark.parametrize(
    ("code", "reads"),
    [
        ('from qsel.book import performance\ntables_bench.load("cpu")', True),
        ("timings.peer_bars(cpu)", True),
        ("table1.recorded()", False),
        ("print(1)", False),
    ],
)
def test_only_the_page_on_speed_depends_on_the_benchmarks(tmp_path, code, reads):
    source = notebook(tmp_path / "page.ipynb", code)
    folder = tmp_path / "benchmarks" / "results"
    (folder / "tiny").mkdir(parents=True)
    before = fingerprint(source, {}, tmp_path)
    (folder / "tiny" / "cpu.json").write_text("{}")
    assert fingerprint(source, {}, tmp_path) == before
    (folder / "cpu.json").write_text("{}")
    after = fingerprint(source, {}, tmp_path)
    assert changed(before, after) == ({"results"} if reads else set())


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
    shutil.copytree(Path(pages.__file__).parents[1], package)
    source = notebook(tmp_path / "page.ipynb", "from qsel.book.figures import maps")

    def now():
        return another_program(package).fingerprint(source, {}, tmp_path)

    def edit(name, before, after):
        text = (package / name).read_text()
        assert before in text
        (package / name).write_text(text.replace(before, after, 1))

    before = now()
    assert before == fingerprint(source, {}, tmp_path)
    for name in ("cli.py", "losses.py", "selection.py", "book/figures/objectives.py"):
        (package / name).write_text("x = 'computes, drives, or draws other pages'")
    edit("book/figures/maps.py", '"""', '"""Other words. ')
    edit("book/figures/maps.py", "\nfrom ", "\n# a comment\nfrom ")
    assert now() == before
    (package / "book/figures/maps.py").open("a").write("\nSHADE = 0.123\n")
    assert changed(before, now()) == {"drawing"}


def test_a_page_depends_on_the_results_version(tmp_path, monkeypatch):
    source = notebook(tmp_path / "page.ipynb")
    before = fingerprint(source, {}, tmp_path)
    monkeypatch.setattr(pages, "RESULTS_VERSION", 2)
    assert changed(before, fingerprint(source, {}, tmp_path)) == {"answers"}


def test_a_function_that_moves_draws_the_same(tmp_path):
    """Also where the modules that call it name another one, and through others."""
    package, source = tmp_path / "qsel", tmp_path / "page.ipynb"
    (package / "book" / "figures").mkdir(parents=True)
    shutil.copy(pages.__file__, package / "book" / "pages.py")
    notebook(source, "%matplotlib inline\nfrom qsel.book.figures import a")
    draw = "def draw():\n    return 1\n"

    def now(**modules):
        figures = package / "book" / "figures"
        for old in figures.glob("*"):
            old.unlink()
        for name, text in modules.items():
            (figures / f"{name}.py").write_text(text)
        return another_program(package).fingerprint(source, {}, tmp_path)

    call = "from qsel.book.figures import b\nx = b.draw()\n"
    before = now(a=call, b=draw)
    assert (
        now(a=call.replace("import b", "import c").replace("b.", "c."), c=draw)
        == before
    )
    moved = "from qsel.book.figures.c import draw\nx = draw()\n"
    assert now(a=moved, c=draw) == before
    assert now(a=f"{draw}x = draw()\n") == before
    other = now(a=call, b=draw.replace("1", "2"))
    assert changed(before, other) == {"drawing"}


def test_an_executed_page_has_the_fingerprint_of_its_source(tmp_path):
    source = notebook(tmp_path / "page.ipynb")
    page = nbformat.read(source, as_version=4)
    cell = nbformat.v4.new_code_cell("word = 'a'\nnumber = 3")
    cell.metadata["tags"] = ["injected-parameters"]
    page.cells.insert(2, cell)
    page.cells[-1].outputs = [nbformat.v4.new_output("stream", text="hello")]
    parameters = {"word": "a", "number": 3}
    tidy(page, parameters)
    wanted = fingerprint(source, parameters, tmp_path)
    page.metadata["qsel"] = {"fingerprint": wanted, "parameters": parameters}
    executed = tmp_path / "executed.ipynb"
    nbformat.write(page, executed)
    assert fingerprint(executed, parameters, tmp_path) == wanted
    assert stored_fingerprint(executed) == wanted
    assert stored_parameters(executed) == parameters
    # The cell that shows the parameters is held against them.
    page.cells[2].source = page.cells[2].source.replace("3", "4")
    nbformat.write(page, executed)
    with pytest.raises(ValueError, match="parameters are no longer"):
        stored_parameters(executed)


@pytest.mark.parametrize("metadata", [{}, {"qsel": {"fingerprint": "3c1fc7b9f1366d"}}])
def test_a_page_of_before_has_no_fingerprint(tmp_path, metadata):
    source = notebook(tmp_path / "page.ipynb")
    page = nbformat.read(source, as_version=4)
    page.metadata.update(metadata)
    nbformat.write(page, source)
    assert stored_fingerprint(source) == {} and stored_parameters(source) == {}


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
