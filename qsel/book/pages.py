"""Pages: executed notebooks without times and paths, and what they were made from."""

import ast
import hashlib
import json
import re
import threading
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import nbformat

from qsel import data as datasets
from qsel.data.files import written_whole
from qsel.experiments.record import PACKAGES, RESULTS_VERSION, without_docstrings

# Modules that draw what a page shows; what they show is computed by others, whose
# answers ``RESULTS_VERSION`` stands for.
DRAWING = re.compile(
    r"qsel\.(book\.(figures|exercises|errata|performance|verdicts)|data\.contact"
    r"|experiments\.(ablations|comparison|rows|switches|table1))\b"
)
# Python 3.11 builds syntax trees in one thread at a time, or raises SystemError.
PARSING = threading.Lock()
VERSIONS = (*PACKAGES, "scipy", "pandas", "matplotlib")


def fingerprint(
    notebook: Path, parameters: dict, root: Path, records: Iterable[Path] = ()
) -> dict[str, str]:
    """What a page depends on, in parts, so that a stale one can say why.

    Returns:
        "cells": their sources, captions and tags. "drawing": the statements of the
        modules that draw for them. "answers": the results version. "parameters".
        "data": the data set. "versions": of the packages that compute or draw.
        "results": what lies under results/, if the cells read that, and the records of
        ``make bench``, if they show those. "runs": the run records. All but
        "answers" are 12 hexadecimal digits.
    """
    cells = _cells(nbformat.read(notebook, as_version=4))
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    recorded = re.search(r"\b(recorded|results)\b", code, re.IGNORECASE)
    results = sorted((root / "results").rglob("*.json")) if recorded else []
    if re.search(r"\b(performance|timings)\b", code):
        results += sorted((root / "benchmarks" / "results").glob("*.json"))
    data = parameters.get("data")
    # papermill gives every cell tags, if only none.
    shown_with = [{k: v for k, v in c.metadata.items() if v} for c in cells]
    return {
        "cells": _digest(*(cell.source for cell in cells), _as_json(shown_with)),
        "drawing": _digest(*_drawing(code)),
        "answers": str(RESULTS_VERSION),
        "parameters": _digest(_as_json(shown(parameters))),
        "data": _data_fingerprint(data) if data else "",
        "versions": _versions(),
        "results": digest_of(results),
        "runs": digest_of(records),
    }


def executed_from(page: Path) -> dict[str, dict]:
    """The "fingerprint" and the "parameters" of an executed page; else empty."""
    return nbformat.read(page, as_version=4).metadata.get("qsel", {})


def shown(parameters: dict) -> dict:
    """A page names the data and the runs, not the folders around them."""
    short = {"data": datasets.source_name, "runs": lambda runs: Path(runs).name}
    return {k: short[k](v) if k in short else v for k, v in parameters.items()}


def tidy(notebook: nbformat.NotebookNode, parameters: dict) -> None:
    """Take off progress bars, times and paths, so that a diff shows what changed."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = ["injected-parameters", "remove-input"]
            lines = [f"{name} = {value!r}" for name, value in parameters.items()]
            cell.source = "\n".join(["# Parameters", *lines])
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    _number_tables(notebook)


def write_not_executed(notebook: Path, page: Path, reason: str) -> None:
    """Write a page of a notebook that failed: its text and code, and why.

    It has no outputs and no fingerprint, so it is never fresh.

    Args:
        notebook: the source.
        page: where the page goes.
        reason: what went wrong; of several lines the last one is shown.
    """
    written = nbformat.read(notebook, as_version=4)
    written.metadata.pop("qsel", None)
    written.cells = _cells(written)
    for cell in written.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    line = reason.strip().splitlines()[-1]
    words = (
        f":::{{error}}\nThis page could not be executed:\n\n~~~text\n{line}\n~~~\n:::"
    )
    said = nbformat.v4.new_markdown_cell(words, id="not-executed")
    written.cells.insert(1, said)  # behind the title
    with written_whole(page) as unfinished:
        nbformat.write(written, unfinished)


def _cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """All but the one with the values of parameters, which is no source."""
    return [
        cell
        for cell in notebook.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]


def _number_tables(notebook: nbformat.NotebookNode) -> None:
    """Give pandas' styled tables numbers for the random names they draw each time."""
    numbers: dict[str, str] = {}

    def number(name: re.Match) -> str:
        return numbers.setdefault(name[0], f"T_{len(numbers)}")

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                html = "".join(data["text/html"])
                data["text/html"] = re.sub(r"\bT_[0-9a-f]{5}", number, html)


def _as_json(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _drawing(code: str) -> list[str]:
    """The statements of all modules that draw for some cells, without words on them."""
    # A line for the notebook itself (% or !) draws nothing.
    cells = re.sub(r"^[ \t]*[%!].*$", "", code, flags=re.MULTILINE)
    statements: dict[Path, str] = {}
    with PARSING:
        left = _drawing_modules(ast.parse(cells))
        while left:
            path = left.pop()
            tree = without_docstrings(ast.parse(path.read_text(encoding="utf-8")))
            statements[path] = ast.unparse(tree)
            left |= _drawing_modules(tree) - statements.keys()
    return sorted(statements.values())


def _drawing_modules(tree: ast.Module) -> set[Path]:
    """The files of the drawing modules that are imported; of exercises all of them."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    files = set()
    for name in filter(DRAWING.match, names):
        path = Path(__file__).parents[1].joinpath(*name.split(".")[1:])
        # Exercises find their judges by name.
        inside = "*.py" if path.name == "exercises" else "__init__.py"
        files |= {*path.glob(inside), *path.parent.glob(f"{path.name}.py")}
    return files


@cache
def _versions() -> str:
    versions = [f"{name} {version(name).split('+')[0]}" for name in VERSIONS]
    return _digest(*versions)


@cache
def _data_fingerprint(source: str) -> str:
    data = datasets.load(source)
    return _digest(data.train.fingerprint, data.test.fingerprint)


def digest_of(paths: Iterable[Path]) -> str:
    """12 hexadecimal digits over files, those that are there, and their last names."""
    found = [path for path in paths if path.exists()]
    return _digest(
        *(b"/".join((*map(str.encode, p.parts[-3:]), p.read_bytes())) for p in found)
    )


def _digest(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:12]
