"""The exercises as they stand in the notebooks."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
IN_LINES = "paper_in_150_lines"  # whose exercises need the cells above them


@dataclass(frozen=True)
class Written:
    """One exercise of a notebook: question, stub and solution."""

    name: str
    notebook: str
    level: str
    question: str
    stub: str
    solution: str


def written() -> dict[str, Written]:
    """Name → exercise, in the order of the pages."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells]
        for i, cell in enumerate(cells):
            if "exercise" not in cell["metadata"].get("tags", []):
                continue
            name, level = (cell["metadata"][key] for key in ("exercise", "level"))
            solution = cells[i + 1]["metadata"]
            assert solution["exercise"] == name, f"{path.name}: {name} has no solution"
            assert {"solution", "hide-cell"} <= set(solution["tags"])
            assert name not in found, f"two cells hold exercise {name}"
            found[name] = Written(name, path.stem, level, *texts[i - 1 : i + 2])
    return found


@cache
def lines_page() -> dict:
    """What the cells of ``IN_LINES`` define, with few pictures and few steps."""
    path = ROOT / "notebooks" / f"{IN_LINES}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join(
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and "exercise" not in cell["metadata"]
    )
    for long, short in (
        ("images_per_model=20", "images_per_model=3"),
        ("= 32, 60, 20, 6\n", "= 16, 2, 1, 1\n"),
        ("SEEDS = 3\n", "SEEDS = 1\n"),
    ):
        assert code.count(long) == 1, f"{long!r} is not in {IN_LINES}"
        code = code.replace(long, short)
    page = {"__name__": "cell"}
    exec(compile(code, IN_LINES, "exec"), page)
    return page
