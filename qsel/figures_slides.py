"""The figures of the chapters as files for slides, with their captions.

They are taken from the outputs that the notebooks store: what the page shows is what
the slide shows, and nothing is executed. A PDF is made from the stored SVG by typst,
one wheel that needs no browser and no library of the system, and keeps lines as lines.
The other way, to save PDFs while the notebooks run, would run them all again. Figures
with thousands of points are stored as PNG and stay pixels.
"""

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import nbformat
import typst

from qsel.storage import made

LAB = "fig-lab"  # the scenes of the selection lab, drawn for a page without scripts
ENDINGS = {"image/svg+xml": ".svg", "image/png": ".png"}  # the first that there is
PAGE = """\
#set page(width: auto, height: auto, margin: 0pt)
#image(sys.inputs.picture, alt: sys.inputs.alt)
"""
DECK = """\
#set page(width: 254mm, height: 143mm, margin: 8mm)
#set text(font: "DejaVu Sans", size: 11pt)
#for slide in json(bytes(sys.inputs.slides)) [
  #grid(rows: (1fr, auto), gutter: 4mm,
    align(center + horizon, image(slide.picture, width: 100%, height: 100%,
      fit: "contain", alt: slide.alt)),
    text(slide.caption))
  #pagebreak(weak: true)
]
"""


class SlidesError(RuntimeError):
    """Figures that cannot be exported."""


@dataclass(frozen=True)
class Slide:
    """One figure.

    Attributes:
        name: the figure's label in the book, and of its files.
        source: the page it stands on, from the root.
        caption: below it.
        alt: for those who do not see it.
        picture: ".svg" or ".png", with its dot; "" if a sentence stands in its place.
        content: of the file.
    """

    name: str
    source: str
    caption: str
    alt: str
    picture: str
    content: bytes

    @property
    def file(self) -> str:
        """The name of the picture's file."""
        return f"{self.name}{self.picture}"


def export(root: Path, out: Path) -> list[Slide]:
    """Write every figure with a name, as SVG or PNG and as PDF, and their captions.

    ``captions.md`` lists them, and ``slides.pdf`` has a page for each.

    Args:
        root: of the repository, whose notebooks hold outputs.
        out: a folder, made if need be. Files of the same names are replaced.

    Returns:
        As ``figures``; those without a picture are not written.

    Raises:
        SlidesError: no figures there; a cell that was not executed, or two figures of
            one name. Nothing is written then. Or a picture that cannot be read.
    """
    slides = figures(root)
    made(out)
    shown = [slide for slide in slides if slide.picture]
    for slide in shown:
        (out / slide.file).write_bytes(slide.content)
        name = f"{slide.name}.pdf"
        _typeset(PAGE, out, name, picture=slide.file, alt=slide.alt)
    pages = [dict(picture=s.file, caption=s.caption, alt=s.alt) for s in shown]
    _typeset(DECK, out, "slides.pdf", slides=json.dumps(pages))
    (out / "captions.md").write_text(captions(shown), encoding="utf-8")
    return slides


def figures(root: Path) -> list[Slide]:
    """The figures of the notebooks, page by page, and the scenes of the lab.

    Raises:
        SlidesError: as ``export``.
    """
    found, missing = [], []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        source = path.relative_to(root).as_posix()
        for cell in nbformat.read(path, as_version=4).cells:
            shown = cell.metadata.get("mystnb", {})
            figure = shown.get("figure", {})
            if "name" not in figure:
                continue
            picture = _picture(cell.get("outputs", []))
            if picture is None:
                missing.append(f"{figure['name']} in {source}")
                continue
            alt = shown.get("image", {}).get("alt", "")
            caption = figure.get("caption", "")
            found.append(Slide(figure["name"], source, caption, alt, *picture))
    if missing:
        raise SlidesError(
            f"no stored picture of {', '.join(missing)}; execute the notebooks first, "
            "with make book BOOK_OPTIONS=--store"
        )
    found += _lab(root)
    if not found:
        raise SlidesError(
            f"no figures in notebooks/ of {root}; run from the root of the repository"
        )
    names = [slide.name for slide in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SlidesError(f"more than one figure is called {', '.join(twice)}")
    return found


def captions(slides: list[Slide]) -> str:
    """The list that goes with the files, as Markdown.

    Example:
        >>> one = Slide("fig-a", "notebooks/a.ipynb", "A dot.", "Dot", ".svg", b"")
        >>> print(captions([one]).split("## ")[1])
        fig-a
        <BLANKLINE>
        Files: `fig-a.svg`, `fig-a.pdf`. From notebooks/a.ipynb.
        <BLANKLINE>
        Caption: A dot.
        <BLANKLINE>
        Alt text: Dot
        <BLANKLINE>
    """
    parts = [f"# Figures\n\n{len(slides)} figures; all on one page each: `slides.pdf`."]
    parts += [
        f"## {s.name}\n\nFiles: `{s.file}`, `{s.name}.pdf`. From {s.source}."
        f"\n\nCaption: {s.caption}\n\nAlt text: {s.alt}"
        for s in slides
    ]
    return "\n\n".join(parts) + "\n"


def _picture(outputs: list) -> tuple[str, bytes] | None:
    """The last picture among a cell's outputs: how its file ends, and its content.

    Both are empty where a sentence stands in its place, as for pictures that may not be
    passed on, see ``qsel.figures.withheld``.
    """
    for output in reversed(outputs):
        for kind, ending in ENDINGS.items():
            if kind in output.get("data", {}):
                text = "".join(output["data"][kind])
                drawn = kind == "image/svg+xml"
                return ending, text.encode() if drawn else base64.b64decode(text)
        if "text/markdown" in output.get("data", {}):
            return "", b""
    return None


def _lab(root: Path) -> list[Slide]:
    page, picture = root / "book" / "lab.md", root / "book/_static/lab/twin.svg"
    if not page.is_file() or not picture.is_file():
        return []
    text = page.read_text(encoding="utf-8")
    alt = re.search(r'<img src="[^"]*twin\.svg" alt="([^"]*)"', text)
    caption = re.search(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    if not alt or not caption:
        raise SlidesError("book/lab.md has no caption or no alt text for twin.svg")
    words = (" ".join(found[1].split()) for found in (caption, alt))
    return [Slide(LAB, "book/lab.md", *words, ".svg", picture.read_bytes())]


def _typeset(page: str, out: Path, name: str, **inputs: str) -> None:
    fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")  # text that stayed text
    try:
        pdf = typst.compile(
            page.encode(), root=str(out), font_paths=[str(fonts)], sys_inputs=inputs
        )
    except RuntimeError as error:
        raise SlidesError(f"{name} could not be made: {error}") from error
    (out / name).write_bytes(pdf)
