"""The book as one PDF: Sphinx puts all pages into one, and Chromium prints that.

All that unfolds is unfolded, and the lab's static twin stands in the place of its
script. ``book/_static/print.css`` holds the rules for paper.
"""

import json
import re
import shutil
import subprocess
from collections import Counter
from html import unescape
from pathlib import Path

import yaml

from qsel import __version__
from qsel.book.build import BookError, render
from qsel.data.files import written_whole

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOME = "book/index.html"
ARTICLE = '<article class="bd-article">'
CHAPTER = '<span id="document-'  # Sphinx puts it before each chapter but the first
PAGE = """\
<!doctype html>
<html lang="en" data-theme="light">
<head>
  <meta charset="utf-8">
  <title>{title}</title>
  {head}
  <link rel="stylesheet" href="_static/print.css">
  <style>{rules}</style>
</head>
<body><article class="bd-article">
<header class="title-page">
  <p class="print-title">{title}</p>
  <p>{about}</p>
  <p>qsel {version}</p>
</header>
<nav class="print-contents"><h1>Contents</h1>{contents}</nav>
{chapters}
</article></body>
</html>
"""
FLAGS = (
    "--headless",
    # Root, and whoever is in a container, may have no sandbox. The page is our own, and
    # the browser reaches no other host.
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no network
    "--virtual-time-budget=120000",  # ms of the page's clock, for MathJax
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
)
TITLE = re.compile(r'<h(\d)>(.*?)<a class="headerlink"', re.DOTALL)
# Styles and MathJax; the other scripts are for a screen.
HEAD = re.compile(
    r'<link[^>]*rel="stylesheet"[^>]*>|<script>window\.MathJax.*?</script>'
    r"|<script[^>]*mathjax[^>]*></script>"
)


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


def pdf(source: Path, root: Path) -> Path:
    """Print a folder of sources, with executed notebooks, to ``_build/qsel.pdf``.

    Raises:
        BookError: there is no Chromium, or it or the renderer failed; a PDF of before
            is kept then.
    """
    program, out = browser(), root / "_build" / "qsel.pdf"
    site = render(source, root, builder="singlehtml")
    page = site / "book.html"
    contents = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    rendered = (site / HOME).read_text(encoding="utf-8")
    page.write_text(for_paper(rendered, contents), encoding="utf-8")
    with written_whole(out) as printed:
        words = [program, *FLAGS, f"--user-data-dir={site.absolute() / 'profile'}"]
        words += [f"--print-to-pdf={printed}", page.absolute().as_uri()]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode or not printed.is_file():
            raise BookError(f"{program} printed nothing:\n{done.stderr[-2000:]}")
    return out


def for_paper(page: str, toc: dict) -> str:
    """Sphinx's single page with a title page and contents, and nothing folded.

    Args:
        page: as Sphinx writes it; its links start at the root of the pages.
        toc: what ``_toc.yml`` says.
    """
    page = page.replace('="../_', '="_').replace("<details", "<details open")
    article = page.partition(ARTICLE)[2].partition("</article>")[0]
    article = re.sub(r"<script.*?</script>", "", article, flags=re.DOTALL)
    # A link that sets up the lab: its words alone.
    lab = re.compile(r'<a href="[^"]*#lab\?[^>]*>(.*?)</a>', re.DOTALL)
    article = lab.sub(r"\1", article)
    article = re.sub(r'href="[\w./-]+\.html#', 'href="#', article)
    first_of = {part["chapters"][0]["file"]: part["caption"] for part in toc["parts"]}
    names = Counter(re.findall(r' id="([^"]+)"', article))
    contents, rules = [], []
    chapters = f'{CHAPTER}{toc["root"]}"></span>{article}'.split(CHAPTER)[1:]
    for i, chapter in enumerate(chapters):
        level, title = TITLE.search(chapter).groups()
        name = chapter.partition('"')[0]
        if name in first_of:
            contents.append(f'<p class="part">{first_of[name]}</p>')
        contents.append(f'<a class="level-{level}" href="#document-{name}">{title}</a>')
        place = f'[id="document-{name}"]'
        plain = json.dumps(unescape(re.sub("<.*?>", "", title)), ensure_ascii=False)
        rules.append(
            f"{place}, {place} + section {{ page: c{i} }} "
            f"@page c{i} {{ @top-left {{ content: {plain} }} }}"
        )

        # Chapters may share names; a link within one, or a style, means its own.
        def own(found: re.Match, start: str = f"c{i}-") -> str:
            return found[1] + start * (names[found[2]] > 1) + found[2]

        # Sphinx has moved the headings of all but the first one or two levels down.
        def up(found: re.Match, by: int = int(level) - 1) -> str:
            return f"{found[1]}{int(found[2]) - by}"

        chapter = re.sub(r'( id="|href="#|#(?=T_))([\w.-]+)', own, chapter)
        chapters[i] = re.sub(r"(</?h)(\d)", up, chapter)
    about = re.search(r'<div class="extra_footer">(.*?)</div>', page, re.DOTALL)
    return PAGE.format(
        title=re.search("<title>(.*?)</title>", page)[1],
        head="".join(HEAD.findall(page)),
        rules=" ".join(rules),
        about=about[1] if about else "",
        version=__version__,
        contents="".join(contents),
        chapters=CHAPTER + CHAPTER.join(chapters),
    )
