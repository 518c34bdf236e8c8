"""Notebooks that tests of several files make."""

from pathlib import Path

import nbformat


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
