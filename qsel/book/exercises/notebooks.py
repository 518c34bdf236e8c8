"""The notebooks for a class: the chapters without solutions and without outputs."""

from pathlib import Path

import nbformat
from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor

from qsel.data.files import made, written_whole

# Preprocessors are off until they are enabled.
WITHOUT_SOLUTIONS = TagRemovePreprocessor(
    enabled=True, remove_cell_tags={"solution", "injected-parameters"}
)
WITHOUT_OUTPUTS = ClearOutputPreprocessor(enabled=True)


class HandOutError(RuntimeError):
    """Notebooks that cannot be handed out as they are."""


def hand_out(root: Path, out: Path) -> dict[Path, list[str]]:
    """Write every chapter that has exercises, with their stubs and hints.

    Solutions, outputs and the parameters of the last execution are left out; all else
    stays. Nothing is written if a file with other contents is in the way: it may hold a
    student's answers.

    Args:
        root: of the repository.
        out: a folder, made if need be.

    Returns:
        Each notebook that was written → its exercises, as ``qsel.book.exercises.check``
        knows them.

    Raises:
        HandOutError: no notebooks there, or a file in the way.
    """
    sources = sorted((root / "notebooks").glob("*.ipynb"))
    if not sources:
        raise HandOutError(
            f"no notebooks/*.ipynb in {root}; run from the root of the repository"
        )
    texts, exercises = {}, {}
    for source in sources:
        notebook, _ = WITHOUT_SOLUTIONS(nbformat.read(source, as_version=4), {})
        notebook, _ = WITHOUT_OUTPUTS(notebook, {})
        notebook.metadata.pop("qsel", None)  # it no longer is what was executed
        cells = [cell.metadata for cell in notebook.cells]
        names = [cell["exercise"] for cell in cells if "exercise" in cell]
        if not names:
            continue
        path = out / source.name
        texts[path], exercises[path] = nbformat.writes(notebook) + "\n", names
        if path.exists() and path.read_text(encoding="utf-8") != texts[path]:
            raise HandOutError(
                f"{path} is there and has other contents, perhaps somebody's answers; "
                "move it away, or give another folder with --out"
            )
    made(out)
    for path, text in texts.items():
        with written_whole(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    return exercises
