"""Every figure of the book says in words what it shows, and the text speaks of it."""

import json
import re
from collections import Counter
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(kind: str) -> list[tuple[str, dict]]:
    return [
        (path.stem, cell)
        for path in NOTEBOOKS
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == kind
    ]


def figure(cell: dict) -> dict:
    return cell["metadata"].get("mystnb", {}).get("figure", {})


def alt(cell: dict) -> str:
    return cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")


def has_image(cell: dict) -> bool:
    kinds = (k for output in cell["outputs"] for k in output.get("data", {}))
    return any(kind.startswith("image/") for kind in kinds)


FIGURES = [(page, cell) for page, cell in cells("code") if figure(cell)]


def complete(cell: dict) -> bool:
    """Alt text, and a caption and a name, but for what a folded solution draws."""
    if "solution" in cell["metadata"].get("tags", []):
        return bool(alt(cell))
    return bool(alt(cell) and figure(cell).get("caption") and figure(cell).get("name"))


def test_every_image_has_alt_text_a_caption_and_a_name():
    drawn = [(p, c) for p, c in cells("code") if has_image(c) or figure(c)]
    assert not {(page, cell["id"]) for page, cell in drawn if not complete(cell)}


def test_alt_text_says_what_is_seen_and_the_caption_how_to_read_it():
    for _, cell in FIGURES:
        seen, caption = alt(cell), figure(cell)["caption"]
        assert len(seen.split()) >= 10 and seen != caption
        assert seen.endswith(".") and caption.endswith("."), caption


def test_names_are_used_once():
    names = Counter(figure(cell)["name"] for _, cell in FIGURES)
    captions = Counter(figure(cell)["caption"] for _, cell in FIGURES)
    assert set(names.values()) == set(captions.values()) == {1}
    assert all(re.fullmatch(r"fig-[a-z-]+", name) for name in names)


def test_every_figure_is_spoken_of():
    text = "\n".join("".join(cell["source"]) for _, cell in cells("markdown"))
    text += "".join(p.read_text(encoding="utf-8") for p in (ROOT / "book").glob("*.md"))
    mentioned = set(re.findall(r"\{(?:numref|ref)\}`(?:[^`]*<)?(fig-[a-z-]+)", text))
    assert mentioned >= {figure(cell)["name"] for _, cell in FIGURES}


def test_every_figure_that_is_spoken_of_exists():
    text = "\n".join("".join(cell["source"]) for _, cell in cells("markdown"))
    mentioned = set(re.findall(r"\{numref\}`(?:[^`]*<)?(fig-[a-z-]+)", text))
    assert mentioned <= {figure(cell)["name"] for _, cell in FIGURES}


def test_figures_and_the_papers_equations_are_numbered_through_the_book():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    settings = config["sphinx"]["config"]
    assert settings["numfig"] is settings["math_numfig"] is True
    assert settings["numfig_secnum_depth"] == 0


def test_pictures_of_a_data_set_are_shown_where_it_allows_it():
    """What draws pictures stands behind ``withheld``, but Figure 1, which asks."""
    drawing = re.compile(
        r"contact_sheet\(|objectives\.neighbours\(|image_rows\.(retrieval|"
        r"negatives|quadruplet_rows)\("
    )
    found = [
        (page, source)
        for page, cell in cells("code")
        if drawing.search(source := "".join(cell["source"]))
    ]
    assert len(found) == 6
    unguarded = [page for page, source in found if "withheld(" not in source]
    assert not unguarded
