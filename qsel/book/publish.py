"""A public repository: buttons that lead to it, and notebooks that run on Colab.

The address is always given, by whoever publishes; none is known here. On Colab a
notebook stands alone, so its first cell has to fetch the repository. Such copies go to
a branch of their own, ``BRANCH``, and the Colab buttons of the book lead there.
"""

import re
from pathlib import Path

import nbformat
import yaml

from qsel.book.build import BookError, sources
from qsel.data.files import made

BRANCH = "colab"
COLAB = "https://colab.research.google.com"
TAG = "install"
CELL = """# On Colab this fetches the book's repository and installs what it needs.
!git clone --quiet --depth 1 {repository} {name}
%cd {name}
%pip install --quiet ".[book,faiss]\""""


def checked(repository: str) -> str:
    """The address, without a slash or ``.git`` at its end.

    Raises:
        ValueError: not the address of a repository on GitHub; Colab opens no other.

    Example:
        >>> checked("https://github.com/somebody/something/")
        'https://github.com/somebody/something'
    """
    short = repository.rstrip("/").removesuffix(".git")
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", short):
        raise ValueError(
            f"--repository {repository}; expected https://github.com/OWNER/NAME"
        )
    return short


def config(root: Path, repository: str) -> Path:
    """Write ``_build/_config.yml``: the book's own, with buttons to its repository."""
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    # The theme knows one branch for all of its buttons: that of the Colab notebooks.
    settings["repository"] = {"url": checked(repository), "branch": BRANCH}
    settings["launch_buttons"] = {"colab_url": COLAB}
    settings["html"] |= {"use_repository_button": True, "use_issues_button": True}
    written = root / "_build" / "_config.yml"
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return written


def for_colab(root: Path, repository: str, out: Path) -> list[Path]:
    """Copy every notebook to ``out/notebooks``, with the cell that installs in front.

    Raises:
        BookError: no notebooks there, or they would be written over.
        ValueError: not the address of a repository.
    """
    address, own = checked(repository), sources(root) / "notebooks"
    folder = out / "notebooks"
    if folder.resolve() == own.resolve():
        raise BookError(f"notebooks in {out} are the book's own; give another --out")
    made(folder)
    source = CELL.format(repository=address, name=address.rpartition("/")[2])
    copies = []
    for path in sorted(own.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        cell = nbformat.v4.new_code_cell(source, id=TAG, metadata={"tags": [TAG]})
        notebook.cells.insert(0, cell)
        copies.append(folder / path.name)
        nbformat.write(notebook, copies[-1])
    return copies
