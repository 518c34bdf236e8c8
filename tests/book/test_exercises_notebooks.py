"""Notebooks for a class: nothing of the solution is left, and nothing else is lost."""

import re
from pathlib import Path

import exercise_cells
import nbformat
import pytest
from class_notebooks import PAIR, chapter

from qsel.book.exercises.notebooks import HandOutError, hand_out

ROOT = Path(__file__).parents[2]


def test_a_notebook_for_the_class(tmp_path):
    chapter(tmp_path / "notebooks" / "a.ipynb", *PAIR)
    chapter(tmp_path / "notebooks" / "b.ipynb")
    path = tmp_path / "out" / "a.ipynb"
    assert hand_out(tmp_path, tmp_path / "out") == {path: ["2a"]}
    assert list((tmp_path / "out").iterdir()) == [path]
    given = nbformat.read(path, as_version=4)
    nbformat.validate(given)
    sources = [cell.source for cell in given.cells]
    assert sources == ["# Title", "x = 1", "print(x)", "# exercise of 2a"]
    assert "qsel" not in given.metadata
    for cell in given.cells[1:]:
        assert cell.outputs == [] and cell.execution_count is None


def test_answers_are_not_written_over(tmp_path):
    chapter(tmp_path / "notebooks" / "a.ipynb", *PAIR)
    (path,) = hand_out(tmp_path, tmp_path / "out")
    before = path.read_text(encoding="utf-8")
    hand_out(tmp_path, tmp_path / "out")  # the same again: nothing in the way
    assert path.read_text(encoding="utf-8") == before
    path.write_text(before.replace("print(x)", "print(3)"), encoding="utf-8")
    chapter(tmp_path / "notebooks" / "0.ipynb", *PAIR)
    with pytest.raises(HandOutError, match=r"a\.ipynb is there and has other contents"):
        hand_out(tmp_path, tmp_path / "out")
    assert "print(3)" in path.read_text(encoding="utf-8")
    assert not (tmp_path / "out" / "0.ipynb").exists()  # all or nothing
    with pytest.raises(HandOutError, match="run from the root of the repository"):
        hand_out(tmp_path / "out", tmp_path)  # a folder without notebooks


def test_the_book_for_a_class(tmp_path):
    """Every exercise is handed out, and nothing of a solution."""
    written = exercise_cells.written()
    found = hand_out(ROOT, tmp_path)
    assert {name for names in found.values() for name in names} == set(written)
    assert "table1_run.ipynb" not in {path.name for path in found}
    for path, names in found.items():
        cells = nbformat.read(path, as_version=4).cells
        sources = [cell.source for cell in cells]
        assert not re.search(r"#\s*Solution|\} Solution", "\n".join(sources))
        for name in names:
            assert written[name].question in sources and written[name].stub in sources
            assert written[name].solution not in sources
        assert not any(cell.get("outputs") for cell in cells)
