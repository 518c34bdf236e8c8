"""The PDF: one page of all pages, Chromium's words, and what is said where it lacks."""

import subprocess

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfWriter

from qsel.book import BookError
from qsel.publish import book

HEAD = (
    '<head><link rel="stylesheet" href="../_static/a.css?v=1">'
    "<script>window.MathJax = {}</script>"
    '<script defer src="../_static/mathjax/x.js"></script>'
    '<script src="../o.js"></script>'
)
NAV = (
    '<nav class="bd-links"><a class="reference internal" href="#">Home</a>'
    '<p class="caption">Part</p><ul><li class="toctree-l1">'
    '<a class="reference internal" href="../notebooks/1.html">1 One &amp; more</a>'
    '<ul><li class="toctree-l2"><a class="reference internal" href="two.html">Two</a>'
    "</li></ul></li></ul></nav>"
)


@pytest.fixture
def site(tmp_path):
    pages = {
        "book/index.html": NAV + '<article class="bd-article"><h1>Home'
        '<a class="headerlink" href="#h">#</a></h1><a href="two.html#x">t</a>'
        '<a href="two.html">t</a><a href="https://example.org">e</a></article>',
        "notebooks/1.html": '<article class="bd-article"><h1 id="x">1 One</h1>'
        '<details class="above-input"><summary>Show</summary><pre>1\n</pre></details>'
        "<details><summary>Hint</summary>because</details><pre>"
        + "line\n"
        * 30
        + "</pre>"
        '<img src="../_images/a.svg" loading="lazy" alt="a"><style>#T_0_c {}</style>'
        '<table id="T_0_c"></table><a href="#x">here</a></article>',
        "book/two.html": '<article class="bd-article"><h1 id="x">Two</h1>'
        '<div id="selection-lab"></div><noscript>n</noscript><script>s</script>'
        '<figure class="lab-twin"></figure><a href="#lab?r=1">try</a>'
        '<a href="../_sources/a.md">source</a></article>',
    }
    for name, text in pages.items():
        path = tmp_path / "_build" / "html" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<html>{HEAD}</head><body>{text}</body></html>")
    return tmp_path / "_build" / "html"


@pytest.fixture
def page(site):
    text = book.one_page(site, site.parent / "pdf", {"notebooks-1": 7})
    return BeautifulSoup(text, "html.parser")


def test_all_pages_in_the_order_of_the_contents(page):
    names = [tag["id"] for tag in page.select(".chapter")]
    assert names == ["book-index", "notebooks-1", "book-two"]
    lines = [a.get_text("|") for a in page.select(".print-contents a")]
    assert lines == ["Home", "1 One & more|7", "Two"]
    assert page.select_one(".print-title").text == "Home"
    assert '@page notebooks-1 { @top-left { content: "1 One & more" } }' in str(
        page.select("head style")
    )


def test_names_and_links_hold_among_all_pages(page):
    names = [tag["id"] for tag in page.select("[id]")]
    assert len(names) == len(set(names))
    links = [a["href"] for a in page.select(".chapter a[href]")]
    assert links[:3] == ["#book-two--x", "#book-two", "https://example.org"]
    assert links[3:] == ["#notebooks-1--x"]  # no state of the lab, no download
    for link in [*links, *(a["href"] for a in page.select(".print-contents a"))]:
        assert link.startswith("https:") or link[1:] in names
    assert page.select_one(".chapter style").string == "#notebooks-1--T_0_c {}"


def test_nothing_is_folded_and_no_script_of_the_page_is_left(page):
    assert not page.select("details, noscript, #selection-lab, a.headerlink")
    assert page.select_one(".lab-twin") and "because" in page.text
    assert "Show" not in page.text and "Hint" in page.text
    scripts = page.select("script")
    assert [s.get("src") for s in scripts] == [None, "../html/_static/mathjax/x.js"]
    short, long = page.select("pre")
    assert short["class"] == ["whole"] and "class" not in long.attrs


def test_files_are_found_from_where_the_page_lies(page):
    assert page.select_one("img")["src"] == "../html/_images/a.svg"
    assert "loading" not in page.select_one("img").attrs
    assert [link["href"] for link in page.select("link")] == [
        "../html/_static/a.css",
        "../html/_static/print.css",
    ]


def test_chromium_prints_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0, raising=False)
    page, out = tmp_path / "book.html", tmp_path / "out.pdf"
    words = book.print_command("chromium", page, out)
    assert words[0] == "chromium" and words[-1] == page.as_uri()
    assert f"--print-to-pdf={out}" in words and "--no-sandbox" in words
    assert f"--user-data-dir={tmp_path / 'profile'}" in words
    assert "--host-resolver-rules=MAP * ~NOTFOUND" in words
    monkeypatch.setattr("os.geteuid", lambda: 1000, raising=False)
    assert "--no-sandbox" not in book.print_command("chromium", page, out)


def test_printed_twice_for_the_numbers_of_the_contents(site, monkeypatch):
    printed = []

    def run(words, **options):
        printed.append((site.parent / "pdf" / "book.html").read_text())
        out = next(w for w in words if w.startswith("--print-to-pdf="))
        writer = PdfWriter()
        for _ in range(3):
            writer.add_blank_page(100, 100)
        writer.add_named_destination("notebooks-1", 2)
        writer.write(out.partition("=")[2])
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(book, "browser", lambda: "chromium")
    out = site.parent / "qsel.pdf"
    assert book.pdf(site.parents[1]) == out and out.is_file()
    first, second = printed
    assert "<span>3</span>" not in first and "<span>3</span>" in second


def test_no_chromium_no_book_and_a_failure_are_said(tmp_path, site, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(BookError, match="apt install chromium"):
        book.pdf(tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(BookError, match="no rendered book"):
        book.pdf(tmp_path / "elsewhere")
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda words, **_: subprocess.CompletedProcess(words, 1, "", "out of memory"),
    )
    (site.parent / "qsel.pdf").write_text("the last one")  # is kept
    with pytest.raises(BookError, match="out of memory"):
        book.pdf(tmp_path)
    assert (site.parent / "qsel.pdf").read_text() == "the last one"


def test_a_chromium_that_hangs_is_said(tmp_path, site, monkeypatch):
    def run(words, timeout, **options):
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(book, "browser", lambda: "chromium")
    with pytest.raises(BookError, match="printed nothing in 1800 seconds"):
        book.pdf(tmp_path)
