"""Notebooks for a class: nothing of the solution is left, and nothing else is lost."""

import json
import re
from pathlib import Path

import exercise_cells
import nbformat
import pytest

from qsel.exercises.notebooks import HandOutError, hand_out

ROOT = Path(__file__).parents[1]


def chapter(path: Path, *tagged: tuple[str, str | None]) -> Path:
    """A notebook with outputs, and cells of (tag, exercise)."""
    first = nbformat.v4.new_code_cell("x = 1")
    first.metadata["tags"] = ["parameters"]
    second = nbformat.v4.new_code_cell("x = 2")
    second.metadata["tags"] = ["injected-parameters", "remove-input"]
    third = nbformat.v4.new_code_cell("print(x)", execution_count=3)
    third.outputs = [nbformat.v4.new_output("stream", text="2\n")]
    cells = [nbformat.v4.new_markdown_cell("# Title"), first, second, third]
    for tag, name in tagged:
        cell = nbformat.v4.new_code_cell(f"# {tag} of {name}")
        cell.metadata |= {"tags": [tag, "hide-cell"], "exercise": name}
        cell.outputs = [nbformat.v4.new_output("stream", text="right\n")]
        cells.append(cell)
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["qsel"] = {"fingerprint": {"source": "0"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


PAIR = ("exercise", "2a"), ("solution", "2a")


def test_a_notebook_for_the_class(tmp_path):
    chapter(tmp_path / "notebooks" / "a.ipynb", *PAIR)
    chapter(tmp_path / "notebooks" / "b.ipynb")
    one, other = hand_out(tmp_path, tmp_path / "out")
    assert one.names == ("2a",) and one.path == tmp_path / "out" / "a.ipynb"
    assert other.names == () and other.path is None and other.source.name == "b.ipynb"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.ipynb"]
    given = nbformat.read(one.path, as_version=4)
    nbformat.validate(given)
    assert [cell.source for cell in given.cells] == [
        "# Title",
        "x = 1",
        "print(x)",
        "# exercise of 2a",
    ]
    assert "qsel" not in given.metadata
    for cell in given.cells[1:]:
        assert cell.outputs == [] and cell.execution_count is None


def test_answers_are_not_written_over(tmp_path):
    chapter(tmp_path / "notebooks" / "a.ipynb", *PAIR)
    (one,) = hand_out(tmp_path, tmp_path / "out")
    before = one.path.read_text(encoding="utf-8")
    hand_out(tmp_path, tmp_path / "out")  # the same again: nothing in the way
    assert one.path.read_text(encoding="utf-8") == before
    one.path.write_text(before.replace("print(x)", "print(3)"), encoding="utf-8")
    chapter(tmp_path / "notebooks" / "0.ipynb", *PAIR)
    with pytest.raises(HandOutError, match=r"a\.ipynb is there and has other contents"):
        hand_out(tmp_path, tmp_path / "out")
    assert "print(3)" in one.path.read_text(encoding="utf-8")
    assert not (tmp_path / "out" / "0.ipynb").exists()  # all or nothing
    with pytest.raises(HandOutError, match="is there and has other contents"):
        hand_out(tmp_path, tmp_path / "notebooks")  # its own sources


@pytest.mark.parametrize(
    ("tagged", "says"),
    [
        (PAIR[:1], "a.ipynb: exercise 2a has no solution"),
        (PAIR[:1] * 2, "cell 5: exercise 2a has no solution"),
        (PAIR[1:], "cell 4: a solution of '2a' without its stub"),
        ((PAIR[0], ("solution", "2b")), "cell 5: a solution of '2b' without its stub"),
        ((("exercise", "2z"), ("solution", "2z")), "no check knows exercise '2z'"),
        ((("exercise", None), ("solution", None)), "no check knows exercise None"),
    ],
)
def test_what_cannot_be_handed_out_is_named(tmp_path, tagged, says):
    chapter(tmp_path / "notebooks" / "a.ipynb", *tagged)
    with pytest.raises(HandOutError, match=re.escape(says)):
        hand_out(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_notebooks(tmp_path):
    with pytest.raises(HandOutError, match="run from the root of the repository"):
        hand_out(tmp_path, tmp_path / "out")


def test_the_book_for_a_class(tmp_path):
    """Every exercise is handed out, and nothing of a solution."""
    written = exercise_cells.written()
    found = hand_out(ROOT, tmp_path)
    assert {name for one in found for name in one.names} == set(written)
    for one in found:
        if not one.path:
            assert one.source.name == "table1_run.ipynb"
            continue
        text = one.path.read_text(encoding="utf-8")
        cells = json.loads(text)["cells"]
        sources = ["".join(cell["source"]) for cell in cells]
        assert not re.search(r"#\s*Solution|\} Solution|^\*\*Solution", text)
        for name in one.names:
            assert written[name].question in sources and written[name].stub in sources
            assert written[name].solution not in sources
        assert not any(cell.get("outputs") for cell in cells)
