"""The notebooks for a class: the chapters without solutions and without outputs."""

from dataclasses import dataclass
from pathlib import Path

import nbformat

from qsel.exercises import all_exercises
from qsel.storage import made, written_whole


class HandOutError(RuntimeError):
    """Notebooks that cannot be handed out as they are."""


@dataclass(frozen=True)
class HandOut:
    """One notebook for the class.

    Attributes:
        path: where it was written; none for a notebook without exercises.
        source: the notebook it was made from.
        names: its exercises, as ``qsel.exercises.check`` knows them.
    """

    path: Path | None
    source: Path
    names: tuple[str, ...]


def hand_out(root: Path, out: Path) -> list[HandOut]:
    """Write every chapter that has exercises, with their stubs and hints.

    Solutions, outputs and the parameters of the last execution are left out; all else
    stays. Nothing is written if a notebook cannot be handed out, or if a file with
    other contents is in the way: it may hold a student's answers.

    Args:
        root: of the repository.
        out: a folder, made if need be.

    Returns:
        One entry for each notebook of the book, in the order of their names; those
        without exercises are not written, and have no path.

    Raises:
        HandOutError: no notebooks there; a stub without its solution, or the other way
            round; an exercise that no check knows; or a file in the way.
    """
    sources = sorted((root / "notebooks").glob("*.ipynb"))
    if not sources:
        raise HandOutError(
            f"no notebooks/*.ipynb in {root}; run from the root of the repository"
        )
    written, found = {}, []
    for source in sources:
        notebook = nbformat.read(source, as_version=4)
        names = _exercises(notebook, source)
        path = out / source.name if names else None
        found.append(HandOut(path, source, names))
        if path:
            _strip(notebook)
            written[path] = nbformat.writes(notebook) + "\n"
    for path, text in written.items():
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise HandOutError(
                f"{path} is there and has other contents, perhaps somebody's answers; "
                "move it away, or give another folder with --out"
            )
    made(out)
    for path, text in written.items():
        with written_whole(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    return found


def _exercises(notebook: nbformat.NotebookNode, source: Path) -> tuple[str, ...]:
    """The names of a notebook's exercises; each has a stub, then a solution."""
    open_, names = None, []
    for i, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        name = cell.metadata.get("exercise")
        where = f"{source.name}, cell {i}"
        if "exercise" in tags:
            if open_:
                raise HandOutError(f"{where}: exercise {open_} has no solution")
            if name not in all_exercises():
                raise HandOutError(f"{where}: no check knows exercise {name!r}")
            open_ = name
        elif "solution" in tags:
            if name != open_:
                raise HandOutError(f"{where}: a solution of {name!r} without its stub")
            names.append(name)
            open_ = None
    if open_:
        raise HandOutError(f"{source.name}: exercise {open_} has no solution")
    return tuple(names)


def _strip(notebook: nbformat.NotebookNode) -> None:
    left_out = {"solution", "injected-parameters"}
    notebook.cells = [
        cell
        for cell in notebook.cells
        if not left_out & set(cell.metadata.get("tags", []))
    ]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("qsel", None)  # it no longer is what was executed
