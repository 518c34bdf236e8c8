"""Figures for slides: taken from stored outputs, as they are."""

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from qsel.figures_slides import LAB, SlidesError, export, figures

ROOT = Path(__file__).parents[1]
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="120pt" height="60pt" '
    'viewBox="0 0 120 60"><circle cx="60" cy="30" r="{r}" fill="#0072b2"/>'
    '<text x="10" y="50" font-family="DejaVu Sans">P⁺</text></svg>'
)


def png() -> str:
    stream = io.BytesIO()
    Image.new("RGB", (40, 20), "white").save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def cell(name=None, alt="Alt", **data):
    made = nbformat.v4.new_code_cell("draw()")
    if name:
        figure = {"name": name, "caption": f"Caption of {name}, D > 0."}
        made.metadata["mystnb"] = {"figure": figure, "image": {"alt": alt}}
    if data:
        kinds = {"svg": "image/svg+xml", "png": "image/png"}
        bundle = {kinds[kind]: content for kind, content in data.items()}
        bundle["text/plain"] = "<Figure>"
        made.outputs = [
            nbformat.v4.new_output("stream", text="said\n"),
            nbformat.v4.new_output("display_data", bundle),
        ]
    return made


@pytest.fixture
def root(tmp_path):
    def write(*cells, name="a"):
        folder = tmp_path / "notebooks"
        folder.mkdir(exist_ok=True)
        notebook = nbformat.v4.new_notebook(cells=list(cells))
        nbformat.write(notebook, folder / f"{name}.ipynb")
        return tmp_path

    return write


def boxes(pdf: Path) -> list[list[float]]:
    """The pages of a PDF, by their sizes in points."""
    found = re.findall(rb"/MediaBox\s*\[([^\]]*)\]", pdf.read_bytes())
    return [[float(x) for x in box.split()] for box in found]


def test_each_figure_becomes_a_picture_and_a_pdf(root, tmp_path):
    folder = root(
        cell("fig-drawn", svg=SVG.format(r=5)),
        cell(svg=SVG.format(r=6)),  # no figure of the book
        cell("fig-points", png=png()),
        cell("fig-both", svg=SVG.format(r=7), png=png()),
    )
    slides = export(folder, tmp_path / "out")
    names = ["fig-drawn", "fig-points", "fig-both"]
    assert [slide.name for slide in slides] == names
    assert [slide.picture for slide in slides] == [".svg", ".png", ".svg"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("fig-drawn.svg", "fig-points.png", "fig-both.svg", "captions.md"),
        *(f"{name}.pdf" for name in names),
        "slides.pdf",
    }
    drawn = (tmp_path / "out" / "fig-drawn.svg").read_text(encoding="utf-8")
    assert drawn == SVG.format(r=5)
    assert Image.open(tmp_path / "out" / "fig-points.png").size == (40, 20)
    for name in (*names, "slides"):
        pdf = (tmp_path / "out" / f"{name}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF-")
    # The page is the figure, and a drawing stays one.
    (box,) = boxes(tmp_path / "out" / "fig-drawn.pdf")
    assert box == pytest.approx([0, 0, 120, 60], abs=0.5)
    assert b"/Subtype/Image" not in (tmp_path / "out" / "fig-drawn.pdf").read_bytes()
    assert b"/Subtype/Image" in (tmp_path / "out" / "fig-points.pdf").read_bytes()
    assert b"/Alt(Alt)" in (tmp_path / "out" / "fig-drawn.pdf").read_bytes()
    pages = boxes(tmp_path / "out" / "slides.pdf")
    assert len(pages) == 3
    assert all(box[2] / box[3] == pytest.approx(254 / 143, rel=0.01) for box in pages)
    text = (tmp_path / "out" / "captions.md").read_text(encoding="utf-8")
    assert text.count("\n## ") == 3 and text.count("notebooks/a.ipynb") == 3
    assert "Caption: Caption of fig-points, D > 0.\n\nAlt text: Alt\n" in text
    assert "`fig-points.png`, `fig-points.pdf`" in text


def test_a_figure_without_a_picture_is_named_and_nothing_written(root, tmp_path):
    folder = root(cell("fig-drawn", svg=SVG.format(r=5)), cell("fig-none"))
    with pytest.raises(SlidesError, match=r"picture of fig-none in notebooks/a\.ipynb"):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_figure_that_a_page_withholds_is_left_out(root, tmp_path):
    withheld = cell("fig-withheld", svg="")
    withheld.outputs[1].data = {"text/markdown": "*Not shown: …*"}
    folder = root(withheld, cell("fig-drawn", svg=SVG.format(r=5)))
    found = export(folder, tmp_path / "out")
    assert [(s.name, s.picture) for s in found] == [
        *(("fig-withheld", ""), ("fig-drawn", ".svg")),
    ]
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"fig-drawn.svg", "fig-drawn.pdf", "slides.pdf", "captions.md"}
    assert len(boxes(tmp_path / "out" / "slides.pdf")) == 1


def test_two_figures_of_one_name_are_refused(root):
    root(cell("fig-a", svg=SVG.format(r=5)))
    folder = root(cell("fig-a", svg=SVG.format(r=6)), name="b")
    with pytest.raises(SlidesError, match="more than one figure is called fig-a"):
        figures(folder)


def test_a_picture_that_cannot_be_read_is_named(root, tmp_path):
    folder = root(cell("fig-a", svg="<svg>no"))
    with pytest.raises(SlidesError, match=r"fig-a\.pdf could not be made"):
        export(folder, tmp_path / "out")


def test_a_folder_without_figures(tmp_path):
    with pytest.raises(SlidesError, match="run from the root of the repository"):
        figures(tmp_path)


def test_the_scenes_of_the_lab_are_among_them(root):
    folder = root(cell("fig-a", svg=SVG.format(r=5)))
    page = folder / "book" / "lab.md"
    picture = folder / "book" / "_static" / "lab" / "twin.svg"
    picture.parent.mkdir(parents=True)
    picture.write_text(SVG.format(r=9), encoding="utf-8")
    page.write_text((ROOT / "book" / "lab.md").read_text(encoding="utf-8"))
    _, lab = figures(folder)
    assert lab.name == LAB and lab.source == "book/lab.md"
    assert lab.content == SVG.format(r=9).encode()
    assert lab.caption.startswith("The scenes of the lab") and "\n" not in lab.alt
    page.write_text("# No figure")
    with pytest.raises(SlidesError, match="no caption or no alt text"):
        figures(folder)
