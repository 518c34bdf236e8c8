"""What the tests execute: notebooks of two cells, and papermill without a kernel."""

from pathlib import Path

import nbformat
import papermill

from qsel.experiments.table1 import run_folder

# As the run notebook of the book, and nothing else.
RUN = """\
import json
from qsel.experiments import table1
asked = json.loads(settings)
_, record, _ = table1.one_run(data, preset, method, seed, runs, asked, workers=0)
"""
RUN_PARAMETERS = """\
method = ""
seed = 0
preset = ""
data = ""
runs = ""
settings = "{}"
"""


def notebook(path: Path, code="", parameters='word = "none"\nnumber = 0') -> Path:
    """Write a notebook: a title, a cell of parameters if any, a cell of code."""
    cells = [nbformat.v4.new_markdown_cell("# A page")]
    if parameters:
        cell = nbformat.v4.new_code_cell(parameters)
        cell.metadata["tags"] = ["parameters"]
        cells.append(cell)
    cells.append(nbformat.v4.new_code_cell(code))
    for i, cell in enumerate(cells):
        cell["id"] = str(i)  # not random: two notebooks of one content are equal
    written = nbformat.v4.new_notebook(cells=cells)
    written.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(written, path)
    return path


def repository(root: Path) -> Path:
    """A root with the run notebook, one chapter and one page of prose."""
    notebook(root / "notebooks" / "table1_run.ipynb", RUN, RUN_PARAMETERS)
    notebook(root / "notebooks" / "chapter.ipynb", "", 'preset = ""')
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (root / "book").mkdir()
    (root / "book" / "index.md").write_text("# Book")
    return root


def without_kernel(calls: list):
    """Stands in for papermill: notes its calls, and writes the parameters in."""

    def execute(source, page, parameters, **options):
        calls.append((Path(source).name, dict(parameters)))
        written = nbformat.read(source, as_version=4)
        written.cells = [
            cell
            for cell in written.cells
            if "injected-parameters" not in cell.metadata.get("tags", [])
        ]
        cell = nbformat.v4.new_code_cell("")
        cell.metadata["tags"] = ["injected-parameters"]
        written.cells[2:2] = [cell] if parameters else []
        nbformat.write(written, page)
        if {"runs", "method"} <= set(parameters):  # what the run notebook leaves
            root = options["resources"]["metadata"]["path"]
            keys = ("runs", "data", "preset", "method", "seed")
            folder = Path(root, run_folder(*(parameters[k] for k in keys)))
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "record.json").exists():
                (folder / "record.json").write_text(RECORD)

    return execute


def failing(monkeypatch, fails) -> list:
    """The same, but for notebooks and parameters that fail; the calls that did not."""
    calls = []
    work = without_kernel(calls)

    def execute(source, page, parameters, **options):
        if fails(Path(source).name, parameters):
            raise papermill.exceptions.PapermillExecutionError(
                1, 3, "1 / 0", "ZeroDivisionError", "division by zero", ["1 / 0"]
            )
        work(source, page, parameters, **options)

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    return calls


RECORD = (
    '{"config": {}, "preset": "", "data": {}, "metrics": {"R@1": 0.5}, "by_class": {},'
    ' "curve": [], "command": "", "versions": {}, "device": "", "date": "",'
    ' "seconds": {}}'
)
