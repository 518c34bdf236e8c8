"""A rendered book, and a browser without a network: python -m pytest tests/rendered."""

from pathlib import Path

import pytest
from served import FLAGS, address_of

from qsel.book.build import BookError
from qsel.book.pdf import HOME, browser

ROOT = Path(__file__).parents[2]


def pytest_addoption(parser):
    parser.addoption(
        "--book", type=Path, default=ROOT / "_build" / "html", help="a rendered book"
    )
    parser.addoption("--axe", type=Path, help="axe.min.js of the package axe-core")


def pytest_generate_tests(metafunc):
    """Every page is a test of its own."""
    if "name" in metafunc.fixturenames:
        site = metafunc.config.getoption("--book").resolve()
        found = sorted(p.relative_to(site).as_posix() for p in site.rglob("*.html"))
        pages = [name for name in found if "/" in name and name[0] != "_"]
        metafunc.parametrize("name", pages)


@pytest.fixture(scope="session")
def site(request) -> Path:
    folder = request.config.getoption("--book").resolve()
    if not (folder / HOME).is_file():
        pytest.fail(f"no rendered book in {folder}; qsel book --stored renders it")
    return folder


@pytest.fixture(scope="session")
def served(site):
    with address_of(site) as address:
        yield address


@pytest.fixture(scope="session")
def started():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is missing")
    try:
        found = browser()
    except BookError as error:
        pytest.skip(str(error))
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe(request) -> str | None:
    path = request.config.getoption("--axe")
    return path.read_text(encoding="utf-8") if path else None


@pytest.fixture(scope="session", params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(scope="session")
def window(started, scheme, served):
    """One window for each scheme; what is not the book's own is refused."""
    context = started.new_context(
        color_scheme=scheme, viewport={"width": 1280, "height": 900}
    )
    context.route(lambda address: not address.startswith(served), _refuse)
    yield context
    context.close()


def _refuse(route):
    if not route.request.url.startswith("data:"):
        route.abort()
    else:
        route.continue_()


@pytest.fixture
def visit(window, served):
    """Opens a page and waits for its formulas: the page, and what it complained of."""
    opened = []

    def visited(name: str):
        page, trouble = window.new_page(), []
        opened.append(page)
        page.set_default_timeout(60_000)
        page.on(
            "console",
            lambda said: (
                said.type in ("error", "warning") and trouble.append(said.text)
            ),
        )
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("requestfailed", lambda failed: trouble.append(failed.url))
        page.goto(served + name)
        page.evaluate("window.MathJax?.startup?.promise")
        return page, trouble

    yield visited
    for page in opened:
        page.close()
