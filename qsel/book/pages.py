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
        "cells": their sources. "drawing": the statements of the modules that draw for
        them. "answers": ``qsel.experiments.record.RESULTS_VERSION``. "parameters".
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
    with PARSING:
        drawing = _drawing(code)
    return {
        "cells": _digest(*(cell.source for cell in cells)),
        "drawing": _digest(*sorted(drawing)),
        "answers": str(RESULTS_VERSION),
        "parameters": _digest(json.dumps(shown(parameters), sort_keys=True)),
        "data": _data_fingerprint(data) if data else "",
        "versions": _versions(),
        "results": digest_of(results),
        "runs": digest_of(records),
    }


def stored_fingerprint(page: Path) -> dict[str, str]:
    """The fingerprint of what a page was executed from; empty if it has none."""
    parts = _metadata(page).get("fingerprint")
    return dict(parts) if isinstance(parts, dict) else {}


def stored_parameters(page: Path) -> dict:
    """The parameters that a page was executed with, as it shows them.

    Raises:
        ValueError: the page's cell of parameters has others.
    """
    parameters = dict(_metadata(page).get("parameters", {}))
    cells = [
        sorted(cell.source.splitlines())
        for cell in nbformat.read(page, as_version=4).cells
        if "injected-parameters" in cell.metadata.get("tags", [])
    ]
    expected = sorted(_as_cell(parameters).splitlines())  # JSON keeps no order
    if cells != [expected] * bool(parameters):
        raise ValueError(f"its parameters are no longer {parameters}")
    return parameters


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
            cell.source = _as_cell(parameters)
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    _number_tables(notebook)


def dress(page: Path, notebook: Path) -> None:
    """Give a page the captions, alt texts and tags that its notebook has by now.

    They change nothing that is computed, so a page is not executed again for them.

    Args:
        page: executed from cells with the same sources.
        notebook: those cells.
    """
    executed = nbformat.read(page, as_version=4)
    kept = _cells(executed)
    now = [cell.metadata for cell in _cells(nbformat.read(notebook, as_version=4))]
    if now != [cell.metadata for cell in kept]:
        for cell, metadata in zip(kept, now, strict=True):
            cell.metadata = metadata
        with written_whole(page) as unfinished:
            nbformat.write(executed, unfinished)


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
    said = nbformat.v4.new_markdown_cell(words)
    said["id"] = "not-executed"
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


def _as_cell(parameters: dict) -> str:
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    return "\n".join(["# Parameters", *lines])


def _metadata(page: Path) -> dict:
    return nbformat.read(page, as_version=4).metadata.get("qsel", {})


def _drawing(code: str) -> set[str]:
    """The statements of all modules that draw for some cells.

    Comments, docstrings, imports, names of files and the order of statements are left
    out: a function that moves to another module draws the same.
    """
    # A line for the notebook itself (% or !) draws nothing.
    cells = re.sub(r"^[ \t]*[%!].*$", "", code, flags=re.MULTILINE)
    left, seen, statements = _drawing_modules(ast.parse(cells)), set(), set()
    while left:
        path = left.pop()
        seen.add(path)
        tree = without_docstrings(ast.parse(path.read_text(encoding="utf-8")))
        left |= _drawing_modules(tree) - seen
        tree = _Unqualified(tree).visit(tree)
        statements |= {ast.unparse(statement) for statement in tree.body}
    return statements


def _drawing_modules(tree: ast.Module) -> set[Path]:
    """The files of the drawing modules that are imported; of a folder all its files."""
    names = {
        name for full in _imported(tree) for name in (full, full.rpartition(".")[0])
    }
    return {
        path for name in names if DRAWING.match(name) for path in _module_files(name)
    }


def _module_files(name: str) -> list[Path]:
    """The files of a module of this package; none if the name is of something else."""
    path = Path(__file__).parents[1].joinpath(*name.split(".")[1:])
    # A folder is what it has itself; exercises find their judges by name.
    inside = "*.py" if path.name == "exercises" else "__init__.py"
    return [*path.glob(inside), *path.parent.glob(f"{path.name}.py")]


def _imported(tree: ast.Module) -> dict[str, str]:
    """The full name of all that is imported → what the module calls it."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            start = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                found[start + alias.name] = alias.asname or alias.name
    return found


class _Unqualified(ast.NodeTransformer):
    """Leaves out imports, and the names of the package's modules in front of others."""

    def __init__(self, tree: ast.Module):
        self.modules = {
            name
            for full, name in _imported(tree).items()
            if full.startswith("qsel.") and _module_files(full)
        }

    def visit_Import(self, node: ast.Import) -> None:
        return None

    visit_ImportFrom = visit_Import

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id in self.modules:
            return ast.Name(node.attr)
        return self.generic_visit(node)


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
