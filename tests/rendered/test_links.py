"""Every link of the rendered book, and every address of its sources."""

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[2]
SOURCES = [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
SOURCES += [ROOT / "book" / "references.bib", ROOT / "README.md"]


@cache
def html(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def places(path: Path) -> set[str]:
    return {tag["id"] for tag in html(path).select("[id]")}


def test_every_link_leads_somewhere(site, name):
    page = site / name
    lost = []
    tags = html(page).select("[href], [src]")
    assert tags
    for tag in tags:
        link = tag.get("href") or tag.get("src") or ""
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.is_file():
            lost.append(link)
        elif parts.fragment.startswith("lab?") or target.suffix != ".html":
            continue  # the lab's state, which its own tests read
        elif parts.fragment and unquote(parts.fragment) not in places(target):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_addresses_have_the_form_of_one(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    for address in re.findall(r"\bhttps?:[^\s<>\"'`)}\]]+", text):
        parts = urlsplit(address.rstrip(".,;"))
        assert parts.scheme == "https", address
        assert re.fullmatch(r"([\w-]+\.)+[a-z]{2,}", parts.netloc), address
        assert "…" not in address and "//" not in parts.path, address


def test_dois_and_preprints_have_the_form_of_one():
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    for doi in re.findall(r"^\s*doi\s*=\s*\{(.*?)\}", text, re.MULTILINE):
        assert re.fullmatch(r"10\.\d{4,9}/\S+", doi), doi
    for number in re.findall(r"^\s*eprint\s*=\s*\{(.*?)\}", text, re.MULTILINE):
        assert re.fullmatch(r"\d{4}\.\d{4,5}|[a-z-]+/\d{7}", number), number
