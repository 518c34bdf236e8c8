"""What the command line does for every command: letters, empty words, advice."""

import codecs
import io
import re
import sys
import unicodedata
from collections.abc import Sequence
from importlib import metadata
from typing import TextIO

# What has no plain letters of its own in Unicode.
_PLAIN = {"−": "-", "–": "-", "—": "-", "×": "x", "±": "+-", "→": "->", "·": "*"}
_PLAIN |= {"≤": "<=", "≥": ">=", "“": '"', "”": '"', "‘": "'", "’": "'"}
# Distributions whose modules have other names, and modules that come with another.
_DISTRIBUTIONS = {
    "bs4": "beautifulsoup4",
    "faiss": "faiss-cpu",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "jupyter-book",
    **dict.fromkeys(("IPython", "ipykernel", "nbclient", "nbconvert"), "jupyter"),
    **dict.fromkeys(("jupyter_client", "nbformat", "matplotlib_inline"), "jupyter"),
}


def in_plain_letters(stream: TextIO) -> None:
    """Make a stream write plain letters for those that its encoding lacks."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="qsel-plain")


def plain(text: str) -> str:
    """Text in ASCII: letters without accents, a question mark for what has none.

    Example:
        >>> plain("P⁻ of Koç, 3 × 2 …")
        'P- of Koc, 3 x 2 ...'
    """
    letters = []
    for letter in text:
        parts = unicodedata.normalize("NFKD", letter)
        known = "".join(_PLAIN.get(part, part) for part in parts)
        letters.append(known.encode("ascii", "ignore").decode() or "?")
    return "".join(letters)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


codecs.register_error("qsel-plain", _replace)


def refuse_empty(words: Sequence[str]) -> None:
    """Refuse an option or argument that is given and empty: '' names nothing.

    Raises:
        ValueError: one is empty.

    Example:
        >>> refuse_empty(["table1", "--rows", "random"])
    """
    for before, word in zip(("qsel", *words), words, strict=False):
        name, equals, value = word.partition("=")
        if not word.strip():
            raise ValueError(f"{before} '' is empty; give a value or leave it out")
        if name.startswith("--") and equals and not value.strip():
            raise ValueError(f"{name} is empty; give a value or leave it out")


def how_to_install(module: str | None) -> str:
    """What to do where a module cannot be imported, by what this package declares.

    Example:
        >>> how_to_install("papermill.iorw")
        "the package papermill is missing; install it with pip install 'qsel[book]'"
    """
    name = (module or "").partition(".")[0]
    if name == "qsel":
        return f"{module} is missing from this installation; install qsel again"
    if name in sys.stdlib_module_names:
        return f"Python's module {name} is missing: this system or Python has none"
    package = _DISTRIBUTIONS.get(name, name)
    for requirement in _requirements():
        declared = re.match(r"[\w.-]+", requirement)[0]
        if declared.lower() == package.lower().replace("_", "-"):
            extra = re.search(r"extra == ['\"](.+?)['\"]", requirement)
            what = f"'qsel[{extra[1]}]'" if extra else package
            return (
                f"the package {package} is missing; install it with pip install {what}"
            )
    return f"the module {module} is missing; install the package that brings it"


def _requirements() -> Sequence[str]:
    """What the installed package declares, extras included; none if it is not."""
    try:
        return metadata.requires("qsel") or ()
    except metadata.PackageNotFoundError:
        return ()
