"""The exercises as they stand in the notebooks."""

import json
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


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
