"""The book as one PDF: its rendered pages in a row, printed by Chromium.

The pages are those that ``qsel.book`` renders, in the order of the contents, with all
that unfolds unfolded and the lab's static twin in the place of its script. Chromium
prints them twice: only then is it known on which page a chapter begins.
"""

import html
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

from qsel import __version__
from qsel.book import BookError
from qsel.storage import made, written_whole

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOME = "book/index.html"
# What only a screen has a use for, or what its twin replaces.
LEFT_OUT = ("a.headerlink", "#selection-lab", "noscript", "script", "link")
SHORT = 20  # lines of code that no page break parts
PATIENCE = 1800  # seconds for one print; on an idle machine it takes about one minute
TITLE_PAGE = """
<header class="title-page">
  <p class="print-title">{title}</p>
  <p>{about}</p>
  <p>qsel {version}</p>
</header>
<nav class="print-contents"><h1>Contents</h1>{contents}</nav>
"""


def browser() -> str:
    """The path of a Chromium.

    Raises:
        BookError: there is none.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise BookError(
            f"none of {', '.join(BROWSERS)} is installed, and one of them prints the "
            "PDF; on Debian: apt install chromium"
        )
    return found


def print_command(program: str, page: Path, out: Path) -> list[str]:
    """The words that have Chromium print a page to a PDF, without any network."""
    words = [program, "--headless", "--disable-gpu", "--no-first-run"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # as in a container
        words.append("--no-sandbox")
    profile = page.parent / "profile"  # not that of a browser in use
    return [
        *words,
        f"--user-data-dir={profile.absolute()}",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--virtual-time-budget=120000",  # ms of the page's clock, for MathJax
        "--no-pdf-header-footer",
        "--generate-pdf-document-outline",
        f"--print-to-pdf={out}",
        page.absolute().as_uri(),
    ]


def pdf(root: Path) -> Path:
    """Print the rendered book, ``_build/html``, to ``_build/qsel.pdf``.

    Raises:
        BookError: there is no Chromium, no rendered book, or nothing was printed; a
            PDF of before is kept then.
    """
    program = browser()
    site, out = root / "_build" / "html", root / "_build" / "qsel.pdf"
    if not (site / HOME).is_file():
        raise BookError(f"no rendered book in {site}; render it first: qsel book")
    page = made(root / "_build" / "pdf") / "book.html"
    numbers: dict[str, int] = {}
    with written_whole(out) as printed:
        for _ in ("to count", "to keep"):
            page.write_text(one_page(site, page.parent, numbers), encoding="utf-8")
            printed.unlink(missing_ok=True)
            words = print_command(program, page, printed)
            try:
                done = subprocess.run(
                    words, capture_output=True, text=True, timeout=PATIENCE
                )
            except subprocess.TimeoutExpired as error:
                raise BookError(
                    f"{program} printed nothing in {PATIENCE} seconds; try again on a "
                    "machine that has less to do"
                ) from error
            if done.returncode or not printed.is_file():
                raise BookError(f"{program} printed nothing:\n{done.stderr[-2000:]}")
            numbers = _first_pages(printed)
    return out


def one_page(site: Path, folder: Path, numbers: Mapping[str, int]) -> str:
    """All pages of a rendered book as one, for a file in ``folder``.

    Args:
        site: a rendered book.
        folder: of the file; its links to pictures and styles start there.
        numbers: name of a chapter, see ``_slug`` → page that it begins on; a chapter
            without one has no number in the contents.
    """
    home = _read(site / HOME)
    nav = home.select_one("nav.bd-links")
    links = [a for a in nav.select("a.reference.internal") if a["href"] != "#"]
    targets = [_target(site / HOME, a["href"]) for a in links]
    chapters = [site / HOME, *targets]
    titles = [_title(home), *(" ".join(a.get_text().split()) for a in links)]
    articles, rules = [], []
    for path, title in zip(chapters, titles, strict=True):
        article = _chapter(path, site, folder, chapters)
        name = _slug(path, site)
        articles.append(f'<div class="chapter" id="{name}" style="page: {name}">')
        articles.append(f"{article}</div>")
        words = title.replace("\\", "\\\\").replace('"', '\\"')
        rules.append(f'@page {name} {{ @top-left {{ content: "{words}" }} }}')
    contents = _contents(nav, site, numbers)
    about = home.select_one(".footer-content-items, footer.bd-footer-content")
    title_page = TITLE_PAGE.format(
        title=html.escape(_title(home)),
        about=" ".join(about.get_text().split()) if about else "",
        version=__version__,
        contents=contents,
    )
    return (
        '<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{html.escape(_title(home))}</title>{_head(home, site, folder)}"
        f"<style>{' '.join(rules)}</style></head>"
        f'<body><article class="bd-article bd-content">{title_page}{"".join(articles)}'
        "</article></body></html>"
    )


def _chapter(path: Path, site: Path, folder: Path, chapters: list[Path]) -> str:
    """A page's article, with names and links that hold among all others."""
    article = _read(path).select_one("article.bd-article")
    name = _slug(path, site)
    for tag in article.select(", ".join(LEFT_OUT)):
        tag.decompose()
    for summary in article.select("details.above-input > summary"):
        summary.decompose()  # "Hide code cell source"
    for details in article.select("details"):
        details.name = "div"
    for code in article.select("pre"):
        if code.get_text().count("\n") <= SHORT:
            code["class"] = [*code.get("class", ()), "whole"]
    for tag in article.select("[id]"):
        tag["id"] = f"{name}--{tag['id']}"
    for style in article.select("style"):
        style.string = (style.string or "").replace("#T_", f"#{name}--T_")
    for tag in article.select("[src]"):
        tag["src"] = _relative(path, tag["src"], folder)
        tag.attrs.pop("loading", None)
    for tag in article.select("a[href]"):
        _relink(tag, path, site, chapters)
    return article.decode_contents()


def _relink(link: Tag, path: Path, site: Path, chapters: list[Path]) -> None:
    """Have a link lead to its place in the PDF, or on to another host."""
    if urlsplit(link["href"]).scheme:
        return
    target, place = _target(path, link["href"]), urldefrag(link["href"]).fragment
    if target not in chapters or place.startswith("lab?"):
        link.unwrap()
        return
    link["href"] = f"#{_slug(target, site)}" + (f"--{place}" if place else "")


def _contents(nav: Tag, site: Path, numbers: Mapping[str, int]) -> str:
    lines = []
    for tag in nav.select("p.caption, a.reference.internal"):
        text = html.escape(" ".join(tag.get_text().split()))
        if tag.name == "p":
            lines.append(f'<p class="part">{text}</p>')
            continue
        name = _slug(_target(site / HOME, tag["href"]), site)
        level = 2 if tag.find_parent("li", class_="toctree-l2") else 1
        number = numbers.get(name, "")
        lines.append(
            f'<a class="level-{level}" href="#{name}"><span>{text}</span>'
            f"<span>{number}</span></a>"
        )
    return "".join(lines)


def _head(home: BeautifulSoup, site: Path, folder: Path) -> str:
    """Styles and MathJax, as the pages have them, and what is for paper alone."""
    parts = []
    for link in home.select('head link[rel="stylesheet"]'):
        link["href"] = _relative(site / HOME, link["href"], folder)
        parts.append(str(link))
    for script in home.select("script"):
        if "mathjax" in script.get("src", ""):
            script["src"] = _relative(site / HOME, script["src"], folder)
            parts.append(str(script))
        elif "window.MathJax" in (script.string or ""):
            parts.append(str(script))
    paper = _relative(site / HOME, "../_static/print.css", folder)
    return "".join(parts) + f'<link rel="stylesheet" href="{paper}">'


def _first_pages(printed: Path) -> dict[str, int]:
    """Name of a chapter → number of its first page, from 1."""
    reader = PdfReader(printed)
    found = {}
    for name, destination in reader.named_destinations.items():
        number = reader.get_destination_page_number(destination)
        if number is not None:
            found[name.lstrip("/")] = number + 1
    return found


def _read(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def _title(page: BeautifulSoup) -> str:
    heading = page.select_one("article h1")
    for link in heading.select("a.headerlink"):
        link.decompose()
    return " ".join(heading.get_text().split())


def _target(path: Path, link: str) -> Path:
    """The file that a link of a page leads to; without a name, the page itself."""
    name = urldefrag(link).url.partition("?")[0]
    return Path(os.path.normpath(path.parent / name)) if name else path


def _relative(path: Path, link: str, folder: Path) -> str:
    if urlsplit(link).scheme:
        return link
    return Path(os.path.relpath(_target(path, link), folder)).as_posix()


def _slug(path: Path, site: Path) -> str:
    """A name for a page: ``notebooks/4_results.html`` → ``notebooks-4_results``."""
    return "-".join(path.relative_to(site).with_suffix("").parts)
