"""The selection lab in a real browser: mouse, keys, touch, address, paper.

The page under test is the HTML of book/lab.md alone; no book needs to be built. What it
shows is held against the package, whatever way it was brought about.
"""

import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import torch
from served import FLAGS, address_of

from qsel.book.figures import lab
from qsel.selection import select_quadruplets

api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
)

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TELEPHONE = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
}


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The lab as in the book, with the page's own HTML and nothing around it."""
    root = tmp_path_factory.mktemp("site")
    source = (ROOT / "book" / "lab.md").read_text(encoding="utf-8")
    (block,) = re.findall(
        r"^```{raw} html\n(.*?)^```", source, re.MULTILINE | re.DOTALL
    )
    links = "".join(re.findall(r'<a href="#lab.*?</a>', source))
    (root / "book").mkdir()
    (root / "book" / "lab.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Lab</title>'
        '<link rel="icon" href="data:,"><meta name="viewport" '
        f'content="width=device-width"><body>{block}{links}',
        encoding="utf-8",
    )
    shutil.copytree(ROOT / "book" / "_static" / "lab", root / "_static" / "lab")
    return root


@pytest.fixture(scope="module")
def served(folder):
    with address_of(folder) as address:
        yield f"{address}book/lab.html"


@pytest.fixture
def visit(browser):
    """Opens pages; afterwards none may have complained or asked another host."""
    contexts, trouble = [], []

    def opened(address: str, **options):
        home = address.partition("/book/")[0]
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("requestfailed", lambda request: trouble.append(request.url))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((home, "data:")) or trouble.append(request.url)
            ),
        )
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not trouble


# --- what the page shows, and what it should --------------------------------------


def state(page) -> dict[str, str]:
    page.wait_for_timeout(400)  # the address follows once the hand rests
    words = parse_qs(page.evaluate("location.hash").removeprefix("#lab?"))
    return {name: values[0] for name, values in words.items()}


def chosen(page) -> list[int]:
    shown = page.get_attribute("#selection-lab", "data-chosen")
    return [int(i) for i in shown.split()]


def by_the_package(page) -> list[int]:
    """The quadruplet of the state in the address; not for Random."""
    words = state(page)
    (scene,) = (s for s in lab.scenes() if s.key == words["scene"])
    points = scene.points.clone()
    for moved in filter(None, words.get("moved", "").split(";")):
        i, xy = moved.split(":")
        points[int(i)] = torch.tensor([float(v) for v in xy.split(",")]).double()
    labels, r = scene.labels, torch.tensor([int(words["r"])])
    q = select_quadruplets(points, labels.fine, labels.coarse, r, words["method"])
    return q.stack()[:, 0].tolist()


def point(page, i: int):
    return page.locator(".lab-points > g").nth(i)


def middle(page, i: int) -> tuple[float, float]:
    box = point(page, i).locator("circle").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def total(page) -> float:
    """Equation (6), as it is written below the figure."""
    return float(page.inner_text(".lab-numbers p:last-child").split("=")[-1])


# --- tests -------------------------------------------------------------------------


@pytest.mark.parametrize("scene", lab.scenes(), ids=lambda scene: scene.key)
def test_every_scene_begins_as_the_package_says(visit, served, scene):
    page = visit(served)
    assert page.evaluate("location.hash") == ""  # nothing was done yet
    page.select_option("[name=scene]", scene.key)
    assert page.locator(".lab-points > g").count() == len(scene.points)
    if scene.key == "single":
        assert chosen(page) == [scene.reference]
        assert "can never be R" in page.inner_text("[data-lab=why]")
        assert page.is_disabled("[name=step]")
        page.check("[name=batch][value=all]")
        assert page.is_enabled("[name=step]")
    elif scene.key != "siblings":  # there, what was drawn decides
        assert chosen(page) == by_the_package(page)
    assert state(page)["scene"] == scene.key


def test_mouse_click_makes_the_reference_and_drag_moves(visit, served):
    page = visit(served)
    page.mouse.click(*middle(page, 4))
    assert chosen(page)[0] == 4 and chosen(page) == by_the_package(page)
    page.mouse.click(*middle(page, 0))
    before = chosen(page)
    x, y = middle(page, 12)  # N
    page.mouse.move(x, y)
    page.mouse.down()
    for share in range(1, 11):  # from the right of R to below it
        page.mouse.move(x - 9 * share, y + 9 * share)
    page.mouse.up()
    assert chosen(page) != before and chosen(page) == by_the_package(page)
    assert state(page)["moved"].startswith("12:") and chosen(page)[0] == 0
    page.click("[name=reset]")
    assert chosen(page) == before and "moved" not in state(page)


def test_a_point_stays_in_the_frame(visit, served):
    page = visit(served)
    page.mouse.move(*middle(page, 3))
    page.mouse.down()
    page.mouse.move(5000, 5000, steps=3)
    page.mouse.up()
    frame = page.locator(".lab-figure > svg").bounding_box()
    x, y = middle(page, 3)
    assert frame["x"] < x < frame["x"] + frame["width"]
    assert frame["y"] < y < frame["y"] + frame["height"]


def test_keys_move_and_choose(visit, served):
    page = visit(served)
    page.focus("[name=steps]")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == (
        "R, a1, point 0, at 0.00, 0.00"
    )
    page.keyboard.press("Tab")
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowUp"):
        page.keyboard.press(key)
    assert state(page)["moved"] == "1:-0.35,0.65"
    assert point(page, 1).get_attribute("aria-label") == (
        "a1, point 1, excluded, at -0.35, 0.65"
    )
    assert page.inner_text("[data-lab=live]").startswith("At -0.35, 0.65. N: The near")
    for key in ("Enter", " "):
        page.keyboard.press("Tab")
        page.keyboard.press(key)
        assert chosen(page) == by_the_package(page)
    assert chosen(page)[0] == 3
    ring = "getComputedStyle(document.activeElement.firstChild).strokeWidth"
    assert page.evaluate(ring) == "2.5px"  # the focus can be seen


def test_touch_on_a_telephone(visit, served):
    page = visit(served, **TELEPHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator(".lab-figure > svg").scroll_into_view_if_needed()
    page.touchscreen.tap(*middle(page, 4))
    assert chosen(page)[0] == 4 and chosen(page) == by_the_package(page)
    before = page.evaluate("scrollY"), middle(page, 12)
    fingers = page.context.new_cdp_session(page)

    def touch(kind, *at):
        points = [{"x": x, "y": y} for x, y in at]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    x, y = before[1]
    touch("touchStart", (x, y))
    for share in range(1, 9):
        touch("touchMove", (x - 5 * share, y - 7 * share))
    touch("touchEnd")
    assert page.evaluate("scrollY") == before[0]  # the page stood still
    assert middle(page, 12) == pytest.approx((x - 40, y - 56), abs=1)
    assert chosen(page) == by_the_package(page)
    touch("touchStart", (x - 40, y + 60))  # where no point is
    for share in range(1, 9):
        touch("touchMove", (x - 40, y + 60 - 9 * share))
    touch("touchEnd")
    page.wait_for_function(f"scrollY > {before[0]}")


def test_the_address_holds_the_whole_state(visit, served):
    page = visit(served)
    page.select_option("[name=scene]", "siblings")
    page.check("[name=method][value=random]")
    page.click("[name=redraw]")
    page.check("[name=batch][value=all]")
    page.mouse.click(*middle(page, 9))
    page.focus(".lab-points > g:nth-child(3)")
    page.keyboard.press("ArrowDown")
    assert state(page) == {
        "scene": "siblings",
        "method": "random",
        "r": "9",
        "draw": "1",
        "batch": "all",
        "moved": "2:1.35,0.25",
    }
    again = visit(page.url)
    for selector in (".lab-front", ".lab-numbers", "[data-lab=why]"):
        assert again.inner_html(selector) == page.inner_html(selector)
    again.click("a:has-text('Nothing outside')")  # a link of the text, on the same page
    assert state(again)["scene"] == "fallback" and chosen(again) == by_the_package(
        again
    )


def test_every_link_of_the_text_is_understood(visit, served):
    page = visit(served)
    links = page.locator('a[href^="#lab?"]').all()
    assert len(links) >= 4
    for link in links:
        link.click()
        asked = parse_qs(link.get_attribute("href").removeprefix("#lab?"))
        assert {k: [v] for k, v in state(page).items()}.items() >= asked.items()
        assert not page.inner_text("[data-lab=message]")


def test_what_cannot_be_read_is_said(visit, served):
    page = visit(
        f"{served}#lab?scene=siblings&method=3&r=99&moved=1:0.5,0.5;2:x;70:0,0"
    )
    said = page.inner_text("[data-lab=message]")
    assert said.endswith("address: method=3, r=99, 2:x, 70:0,0.")
    assert state(page)["moved"] == "1:0.5,0.5"


@pytest.mark.parametrize("batch", ["one", "all"])
def test_steps_go_down(visit, served, batch):
    start = f"{served}#lab?scene=siblings&method=method1&batch={batch}"
    page = visit(start, reduced_motion="reduce")  # which need not be waited for
    start = total(page)
    assert page.locator(".lab-arrow").count() >= 3
    page.click("[name=step]")
    page.wait_for_function("location.hash.includes('moved')")
    one, address = total(page), page.url
    page.click("[name=steps]")
    page.wait_for_function("address => location.href !== address", arg=address)
    assert total(page) < start
    if batch == "one":  # among many, the next choice may cost more than the last
        assert total(page) < one < start
    assert chosen(page) == by_the_package(page)
    moved = state(page)["moved"].split(";")
    assert len(moved) >= 10 if batch == "all" else len(moved) >= 4


def test_ten_steps_are_ten_times_one(visit, served):
    start = f"{served}#lab?scene=siblings&method=method2&batch=all"
    moving, calm = visit(start), visit(start, reduced_motion="reduce")
    moving.click("[name=steps]")
    for _ in range(10):
        calm.click("[name=step]")
        calm.wait_for_timeout(100)
    wanted = state(calm)["moved"]
    moving.wait_for_function("moved => location.hash.endsWith(moved)", arg=wanted)


def test_a_random_quadruplet_may_teach_nothing(visit, served):
    page = visit(f"{served}#lab?scene=siblings&method=random")
    assert total(page) == 0 and not page.locator(".lab-arrow").count()


def test_whoever_wants_no_motion_gets_none(visit, served):
    page = visit(served, reduced_motion="reduce")
    script = """async () => {
      const start = performance.now();
      document.querySelector("[name=step]").click();
      const frame = () => new Promise(requestAnimationFrame);
      await frame(); await frame();
      return document.querySelectorAll(".lab-points > g")[12].getAttribute("transform");
    }"""
    soon = page.evaluate(script)
    page.wait_for_timeout(600)
    assert point(page, 12).get_attribute("transform") == soon


def test_copy_link(visit, served):
    page = visit(served, permissions=["clipboard-read", "clipboard-write"])
    page.check("[name=method][value=method2]")
    page.click("[name=copy]")
    page.wait_for_function("document.querySelector('[role=status]').textContent")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.url and "method=method2" in copied


def test_from_a_file(visit, folder):
    page = visit((folder / "book" / "lab.html").as_uri())
    page.mouse.click(*middle(page, 2))
    assert chosen(page) == by_the_package(page)
    again = visit(page.url)
    assert chosen(again) == chosen(page)
    page.click("[name=copy]")
    page.wait_for_function("document.querySelector('[role=status]').textContent")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_can_be_told_from_its_ground(visit, served, theme):
    """Markers, arrows and text have the contrast that WCAG asks for: 3, text 4.5."""
    page = visit(served)
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    script = """() => {
      const of = (selector, what) => getComputedStyle(
        document.querySelector(selector))[what];
      return [0, 1, 2].map((k) => `.lab-colour-${k}`).concat(".lab-arrow", ".lab-ring")
        .map((selector) => of(selector, "stroke"))
        .concat(of(".lab-role", "fill"), of(".lab-role", "stroke"));
    }"""
    *shown, ink, ground = map(luminance, page.evaluate(script))
    for light, wanted in [*((light, 3) for light in shown), (ink, 4.5)]:
        high, low = max(light, ground), min(light, ground)
        assert (high + 0.05) / (low + 0.05) >= wanted


def luminance(colour: str) -> float:
    parts = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts
    ]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_twin_is_for_paper_and_for_readers_without_scripts(visit, served):
    page = visit(served)
    assert page.is_visible("#selection-lab") and not page.is_visible(".lab-twin")
    page.emulate_media(media="print")
    assert page.is_visible(".lab-twin img") and not page.is_visible("#selection-lab")
    plain = visit(served, java_script_enabled=False)
    assert plain.is_visible(".lab-twin img") and not plain.is_visible("#selection-lab")
    assert plain.is_visible("noscript p")
    assert "Six panels" in plain.get_attribute(".lab-twin img", "alt")
