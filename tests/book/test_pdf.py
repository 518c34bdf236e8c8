"""The PDF: what is printed of Sphinx's single page, and what is said where it lacks."""

import re
import subprocess

import pytest

from qsel.book import pdf
from qsel.book.build import BookError

TOC = {
    "root": "book/index",
    "parts": [
        {"caption": "Part", "chapters": [{"file": "notebooks/1"}, {"file": "book/2"}]}
    ],
}
LINK = '<a class="headerlink" href="#h">#</a>'
PAGE = f"""\
<head><title>Home</title><link rel="stylesheet" href="_static/a.css">
<script>window.MathJax = {{}}</script><script src="_static/mathjax/x.js"></script>
<script src="o.js"></script></head>
<article class="bd-article"><section id="home"><h1>Home{LINK}</h1>
<a href="book/index.html#only">o</a><a href="https://example.org/a.html#x">e</a>
<span id="document-notebooks/1"></span><section id="x">
<h2>1 “One” &amp; more{LINK}</h2>
<details class="above-input"><summary>Show</summary><pre>1</pre></details>
<style>#T_0_c {{}}</style><table id="T_0_c"></table><a href="#x">here</a>
<span id="document-book/2"></span><section id="x"><h3>Two{LINK}</h3><h4>Why</h4>
<script>s</script><img src="../_static/lab.svg"><a href="lab.html#lab?r=1">try</a>
<style>#T_0_c {{}}</style><table id="T_0_c"></table><a href="#x">here</a>
<a href="../book/errata.html#only">o</a><p id="only"></p>
</section></section></section></article>
<div class="extra_footer">About.</div>"""


@pytest.fixture(scope="module")
def printed():
    return pdf.for_paper(PAGE, TOC)


def test_a_title_the_contents_and_all_chapters(printed):
    assert '<p class="print-title">Home</p>\n  <p>About.</p>' in printed
    contents = re.search(r"<h1>Contents</h1>(.*?)</nav>", printed)[1]
    assert contents == (
        '<a class="level-1" href="#document-book/index">Home</a>'
        '<p class="part">Part</p>'
        '<a class="level-2" href="#document-notebooks/1">1 “One” &amp; more</a>'
        '<a class="level-3" href="#document-book/2">Two</a>'
    )
    assert '@page c1 { @top-left { content: "1 “One” & more" } }' in printed
    # A chapter's title is of the first level, whatever its place in the contents.
    assert "<h1>Two" in printed and "<h2>Why</h2>" in printed


def test_names_and_links_hold_among_all_chapters(printed):
    names = re.findall(r' id="([^"]+)"', printed)
    assert len(names) == len(set(names))
    links = set(re.findall(r'href="#([^"]+)"', printed)) - {"h"}
    assert links <= set(names) and {"only", "c1-x", "c2-x"} <= links
    assert re.findall(r"#(\S+T_0_c)", printed) == ["c1-T_0_c", "c2-T_0_c"]
    assert 'href="https://example.org/a.html#x"' in printed
    assert "lab?" not in printed and "try" in printed  # no state of the lab


def test_nothing_is_folded_and_no_script_of_a_page_is_left(printed):
    assert "<details open" in printed and "<details class" not in printed
    scripts = re.findall(r"<script.*?</script>", printed)
    assert scripts == [
        "<script>window.MathJax = {}</script>",
        '<script src="_static/mathjax/x.js"></script>',
    ]
    sheets = re.findall(r'rel="stylesheet" href="(.*?)"', printed)
    assert sheets == ["_static/a.css", "_static/print.css"]
    assert '<img src="_static/lab.svg">' in printed


def test_chromium_prints_without_a_network_or_says_why_not(tmp_path, monkeypatch):
    (tmp_path / "_toc.yml").write_text("root: book/index\nparts: []\n")
    (tmp_path / "_build" / "singlehtml" / "book").mkdir(parents=True)
    (tmp_path / "_build" / "singlehtml" / pdf.HOME).write_text(PAGE)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    asked = []

    def run(words, **options):
        asked.append(words)
        (out,) = [w for w in words if w.startswith("--print-to-pdf=")] or [""]
        if out and len(asked) == 2:
            tmp_path.joinpath(out.partition("=")[2]).write_text("%PDF")
        failed = len(asked) == 4
        return subprocess.CompletedProcess(words, int(failed), "", "out of memory")

    monkeypatch.setattr(subprocess, "run", run)
    assert pdf.pdf(tmp_path, tmp_path).read_text() == "%PDF"
    renderer, words = asked
    assert renderer[1:3] == ["build", str(tmp_path)] and "singlehtml" in renderer
    assert words[0] == "/usr/bin/chromium"
    assert "--host-resolver-rules=MAP * ~NOTFOUND" in words
    assert words[-1] == (tmp_path / "_build/singlehtml/book.html").as_uri()
    with pytest.raises(BookError, match="printed nothing:\nout of memory"):
        pdf.pdf(tmp_path, tmp_path)
    assert (tmp_path / "_build" / "qsel.pdf").read_text() == "%PDF"  # of before


def test_a_machine_without_chromium(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(BookError, match="apt install chromium"):
        pdf.pdf(tmp_path, tmp_path)
