"""Every page in a browser without a network: telephone, desk, light and dark."""

import accessibility
import nbformat
import pytest
from bs4 import BeautifulSoup

WIDTHS = (1280, 390, 360)
# The theme's own: it speaks of a mode that is not yet set.
KNOWN = ("Got invalid theme mode: . Resetting to auto.",)
PAGE, BOOK = 2_000_000, 40_000_000  # bytes
SHARED = ("_static/mathjax", "_static/scripts/", "_static/styles/", "_static/vendor/")


def parsed(site, name: str) -> BeautifulSoup:
    return BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser")


def test_a_page_is_whole_on_every_screen(visit, scheme, name, axe):
    page, trouble = visit(name)
    assert [line for line in trouble if line not in KNOWN] == []
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    # Formulas are set, and none is left as it was typed, or in red.
    formulas = page.locator("article .math").count()
    assert page.locator("article .math mjx-container").count() >= formulas
    assert not page.locator("article mjx-container [data-mml-node=merror]").count()
    text = page.locator("article").evaluate(
        "a => { const c = a.cloneNode(true);"
        " c.querySelectorAll('pre, code, script').forEach(e => e.remove());"
        " return c.textContent; }"
    )
    assert "\\(" not in text and "\\[" not in text
    pictures = page.locator("article img")
    for k in range(pictures.count()):
        picture = pictures.nth(k)
        assert (picture.get_attribute("alt") or "").strip(), picture.get_attribute(
            "src"
        )
    found = accessibility.found(page, axe) if axe else []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{width} px: {_widest(page, width)}"
    assert [line for line in trouble if line not in KNOWN] == []
    assert found == []


def _widest(page, width: int) -> list[str]:
    """What reaches over the edge, and stands in no box that scrolls or cuts."""
    return page.evaluate(
        """width => [...document.querySelectorAll("body *")].filter(e => {
          if (e.getBoundingClientRect().right <= width + 1) return false;
          for (let p = e.parentElement; p; p = p.parentElement)
            if (p !== document.body && getComputedStyle(p).overflowX !== "visible")
              return false;
          return true;
        }).map(e => e.outerHTML.slice(0, 120)).slice(-3)""",
        width,
    )


@pytest.mark.parametrize("scheme", ["light"], indirect=True)
def test_download_and_print_need_no_network(visit):
    page, _ = visit("notebooks/3_method.html")
    page.evaluate("window.print = () => { window.printed = true }")
    page.click(".dropdown-download-buttons > button")
    page.click(".btn-download-pdf-button")
    assert page.evaluate("window.printed")
    page.click(".dropdown-download-buttons > button")
    with page.expect_download() as download:
        page.click(".btn-download-source-button")
    assert download.value.path().stat().st_size > 1000


def test_a_page_offers_its_source(site, name):
    (button,) = parsed(site, name).select("a.btn-download-source-button")
    end = ".ipynb" if name.startswith("notebooks/") else ".md"
    source = (site / name).parent / button["href"]
    assert source.suffix == end and source.is_file()
    if end == ".ipynb":
        nbformat.validate(nbformat.read(source, as_version=4))


def test_a_page_is_small(site, name):
    """What a reader loads for this page alone, beside MathJax and the theme."""
    html = parsed(site, name)
    named = {t.get("src") for t in html.select("[src]")}
    named |= {t.get("href") for t in html.select("link[rel=stylesheet]")}
    own = [
        (site / name).parent / link.partition("?")[0]
        for link in filter(None, named)
        if "://" not in link and not any(part in link for part in SHARED)
    ]
    assert (site / name).stat().st_size + sum(
        path.stat().st_size for path in own
    ) < PAGE


def test_the_book_is_small(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < BOOK
