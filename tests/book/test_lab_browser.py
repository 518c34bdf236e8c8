"""The selection lab in a real browser: mouse, keys, touch, address, paper.

The page under test is the HTML of book/lab.md alone, as a file; no book needs to be
built. That its rules are the package's is tested in test_lab.py, without a page.
"""

import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from served import FLAGS

from qsel import losses
from qsel.book.figures import lab

api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
)

ROOT = Path(__file__).parents[2]
SCENES = {scene.key: scene for scene in lab.scenes()}
TELEPHONE = {"has_touch": True, "is_mobile": True}
TELEPHONE["viewport"] = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A browser, and the address of the lab with nothing of the book around it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(names)} is installed")
    root = tmp_path_factory.mktemp("site")
    source = (ROOT / "book" / "lab.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```{raw} html\n(.*?)^```", source, re.M | re.S)
    links = "".join(re.findall(r'<a href="#lab.*?</a>', source, re.S)).replace("*", "")
    (root / "book").mkdir()
    page = root / "book" / "lab.html"
    page.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Lab</title><meta '
        f'name="viewport" content="width=device-width"><body>{links}{block}',
        encoding="utf-8",
    )
    shutil.copytree(ROOT / "book" / "_static" / "lab", root / "_static" / "lab")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser, page.as_uri()
        browser.close()


@pytest.fixture
def visit(started):
    """Opens pages; afterwards none may have complained or asked another host."""
    browser, address = started
    contexts, trouble = [], []

    def opened(state: str = "", **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: trouble.append(request.url))
        page.goto(address + state)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [text for text in trouble if not text.startswith("file:")] == []


# --- what the page shows -----------------------------------------------------------


def read(link: str) -> dict[str, str]:
    words = parse_qs(link.partition("#lab?")[2])
    return {name: values[0] for name, values in words.items()}


def state(page) -> dict[str, str]:
    page.evaluate("document.querySelector('[name=copy]').click()")  # stores it at once
    return read(page.url)


def chosen(page, panel: int = 0) -> list[int]:
    shown = page.locator("[data-chosen]").nth(panel).get_attribute("data-chosen")
    return [int(i) for i in shown.split()]


def middle(page, i: int, panel: int = 0) -> tuple[float, float]:
    groups = page.locator(".lab-points").nth(panel).locator("g")
    box = groups.nth(i).locator("circle").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, start: tuple[float, float], by: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by[0], start[1] + by[1], steps=5)
    page.mouse.up()


def totals(page) -> list[float]:
    """Equation (6), as it stands in the table."""
    last = page.locator(".lab-numbers table >> nth=1 >> tr:last-child td")
    return [float(text) for text in last.all_inner_texts()]


def slide(page, **values) -> None:
    for name, value in values.items():
        page.locator(f"[name={name}]").fill(str(value))


# --- tests -------------------------------------------------------------------------


def test_every_link_opens_the_scene_that_it_names(visit):
    page = visit()
    assert "#" not in page.url  # nothing was done yet
    seen = set()
    for link in page.locator('a[href^="#lab?"]').all():
        link.click()
        asked = read(link.get_attribute("href"))
        scene = SCENES[asked["scene"]]
        assert state(page).items() >= asked.items()
        assert link.inner_text().startswith(scene.title)
        assert page.locator("[name=scene] :checked").inner_text() == scene.title
        seen.add(scene.key)
        if scene.key == "single":
            assert chosen(page) == [scene.reference]
            assert page.is_disabled("[name=play]")
        elif asked["method"] == "random":  # which may teach nothing
            assert (
                totals(page) == [0] and not page.locator(".lab-arrow:visible").count()
            )
    assert seen == set(SCENES)


def test_the_mouse_chooses_and_drags_in_either_panel(visit):
    page = visit("#lab?scene=figure-2&method=both")
    page.mouse.click(*middle(page, 4))
    assert chosen(page)[0] == chosen(page, 1)[0] == 4
    page.mouse.click(*middle(page, 0, panel=1))
    first, second = chosen(page), chosen(page, 1)
    x, y = middle(page, 0)
    radius = middle(page, 12)[0] - x  # from R to N
    drag(page, middle(page, 12, panel=1), (-radius, -radius))  # to the top
    assert chosen(page, 1) == second  # Method 2 measures from R, Method 1 from N
    assert chosen(page) != first and chosen(page)[::3] == [0, 12]
    drag(page, middle(page, 3), (5000, 5000))  # a point stays in the frame
    assert re.match(r"3:2\.75,-2\.2;12:-?0[.\d]*,1", state(page)["moved"])
    page.click("[name=reset]")
    assert "moved" not in state(page)


def test_keys_skip_move_and_choose(visit):
    page = visit()
    focus = page.locator(":focus")
    page.keyboard.press("Tab")
    api.expect(focus).to_have_text("Skip to the points of the lab")
    api.expect(focus).to_have_css("clip-path", "none")
    page.keyboard.press("Enter")
    api.expect(focus).to_have_attribute("aria-label", "R, a1, point 0, at 0.00, 0.00")
    page.keyboard.press("Tab")
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowUp"):
        page.keyboard.press(key)
    live = page.locator("[data-lab=live]")
    api.expect(live).to_have_text(re.compile(r"At -0\.35, 0\.65\. +N: The near"))
    assert read(page.url)["moved"] == "1:-0.35,0.65"
    label = "excluded, a1, point 1, at -0.35, 0.65"
    api.expect(focus).to_have_attribute("aria-label", label)
    for i, key in ((2, "Enter"), (3, " ")):
        page.keyboard.press("Tab")
        page.keyboard.press(key)
        assert chosen(page)[0] == i
    api.expect(focus.locator("circle")).to_have_css("stroke-width", "2.5px")
    page.check("[value=both]")
    label = page.locator("[role=button]").nth(12).get_attribute("aria-label")
    assert label.startswith("N by Method 1, N by Method 2, b1")


def test_touch_on_a_telephone(visit):
    page = visit(**TELEPHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    parts = [page.locator(f".lab > {x}") for x in (".lab-figure", "form", ".lab-why")]
    tops = [part.bounding_box()["y"] for part in parts]
    assert tops == sorted(tops)  # the figure first
    parts[0].scroll_into_view_if_needed()
    page.touchscreen.tap(*middle(page, 4))
    assert chosen(page)[0] == 4
    scrolled, (x, y) = page.evaluate("scrollY"), middle(page, 12)
    fingers = page.context.new_cdp_session(page)

    def swipe(x, y, dx, dy):
        for kind in ("Start", *["Move"] * 8, "End"):
            points = [] if kind == "End" else [{"x": x, "y": y}]
            words = {"type": f"touch{kind}", "touchPoints": points}
            fingers.send("Input.dispatchTouchEvent", words)
            x, y = x + dx, y + dy

    swipe(x, y, -5, -7)
    assert page.evaluate("scrollY") == scrolled  # the page stood still
    assert middle(page, 12) == pytest.approx((x - 40, y - 56), abs=1)
    swipe(x - 40, y + 60, 0, -9)  # where no point is
    page.wait_for_function(f"scrollY > {scrolled}")


def test_the_address_holds_the_whole_state(visit):
    page = visit("#lab?scene=siblings")
    page.check("[value=random]")
    page.check("[value=all]")
    page.click("[name=redraw]")
    page.mouse.click(*middle(page, 9))
    page.focus("[role=button] >> nth=2")
    page.keyboard.press("ArrowDown")
    slide(page, m1=0.9, m2=0.2, rate=0.1, steps=7)
    page.click("[name=copy]")
    api.expect(page.locator("[role=status]")).to_contain_text("Cop")
    assert page.url.partition("#lab?")[2] == (
        "scene=siblings&method=random&batch=all&r=9&draw=1&m1=0.9&m2=0.2&rate=0.1"
        "&steps=7&moved=2:1.35,0.25"
    )
    again = visit("#" + page.url.partition("#")[2])
    for selector in (".lab-front >> nth=0", ".lab-results"):
        assert again.inner_html(selector) == page.inner_html(selector)


def test_what_cannot_be_read_is_said(visit):
    page = visit("#lab?method=3&r=99&rate=9&x=1&m1=0.2&moved=1:0.5,0.5;2:x;70:0,0")
    said = page.inner_text("[data-lab=message]")
    assert said.endswith(": method=3, r=99, rate=9, x=1, m1 < m2, 2:x, 70:0,0.")
    assert state(page)["moved"] == "1:0.5,0.5" and state(page)["m1"] == "0.7"


def test_the_margins_follow_their_sliders(visit):
    page = visit()
    slide(page, m1=1.2, m2=0.5)
    points = SCENES["figure-2"].points
    four = [points[i][None] for i in chosen(page)]
    expected = losses.combined_loss(*four, margin1=1.2, margin2=0.5)
    assert totals(page) == pytest.approx([float(expected)], abs=6e-4)
    slide(page, m2=1.4)  # m1 goes along: it may not be the smaller one
    assert state(page)["m1"] == "1.4"


def test_steps_go_down_and_back(visit):
    start = "#lab?scene=siblings&method=both&batch=all"
    page = visit(start, reduced_motion="reduce")
    first = totals(page)
    assert page.locator(".lab-arrow:visible").count() >= 3 and not page.is_visible(
        ".lab-trace"
    )
    page.click("[name=play]")
    page.click("[name=play]")
    assert state(page)["steps"] == "20"
    assert all(new < old / 5 for new, old in zip(totals(page), first, strict=True))
    told = re.findall(r"from (\d+\.\d+) to (\d+\.\d+)", page.inner_text(".lab-trace"))
    expected = zip(first, totals(page), strict=True)
    assert [tuple(map(float, pair)) for pair in told] == list(expected)
    for line in page.locator(".lab-trace polyline").all():
        assert len(line.get_attribute("points").split()) == 21
    slide(page, steps=0)
    assert totals(page) == first
    slide(page, steps=5)
    drag(page, middle(page, 0, panel=1), (9, 9))  # begins anew, where panel 2 was
    assert state(page)["steps"] == "0" and len(state(page)["moved"].split(";")) > 10
    moving = visit(start)
    moving.click("[name=play]")
    assert state(moving)["steps"] in "1234"  # one at a time, for the eye
    api.expect(moving.locator("[name=steps]")).to_have_value("10")


def test_full_screen(visit):
    page = visit()
    page.click("text=Full screen")
    page.wait_for_selector("text=Leave full screen")
    figure = page.locator(".lab-figure").bounding_box()
    controls = page.locator("form").bounding_box()
    assert figure["x"] + figure["width"] <= controls["x"]
    page.click("text=Leave full screen")
    page.wait_for_function("!document.fullscreenElement")


def test_the_twin_is_for_paper_and_for_readers_without_scripts(visit):
    page = visit()
    assert page.is_visible("#selection-lab") and not page.is_visible(".lab-twin")
    page.emulate_media(media="print")
    assert page.is_visible(".lab-twin img") and not page.is_visible("#selection-lab")
    plain = visit(java_script_enabled=False)
    assert plain.is_visible(".lab-twin img") and not plain.is_visible("#selection-lab")
    assert plain.is_visible("noscript p")
