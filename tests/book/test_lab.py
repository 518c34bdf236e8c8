"""The selection lab's script and text answer as the package does; files are current.

The page has its own copy of the rules, in JavaScript. Both are given the same cases,
many of them with ties, empty outsides and equal points.
"""

import json
import re
import shutil
import subprocess
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

from qsel import losses
from qsel.book import figures
from qsel.book.figures import lab
from qsel.hierarchy import HierarchyError
from qsel.selection import select_quadruplets

ROOT = Path(__file__).parents[2]
LAB = ROOT / "book" / "_static" / "lab"
PAGE = (ROOT / "book" / "lab.md").read_text(encoding="utf-8")
SCENES = {scene.key: scene for scene in lab.scenes()}
METHODS = ("random", "method1", "method2")
WORDS = {  # scene, method, reference → what the page must say
    ("fallback", "method2", 0): {
        "P⁺": "Of 3 other points of a1, none is outside the circle, so the fallback "
        "takes the furthest from R.",
        "P⁻": "a2 is the only sibling class. Of 3 points of a2, none is outside the "
        "circle, so the fallback takes the furthest from R.",
    },
    ("single", "method1", 17): {
        "P⁻": "c1 is alone in its coarse class, so this point can never be R. It still "
        "serves as N of others.",
    },
    ("siblings", "method2", 0): {
        "P⁻": "From the sibling classes a2 and a3, a2 was drawn. Of 4 points of a2, 1 "
        "is inside the circle and excluded; of the 3 outside this is the nearest to R.",
    },
    ("siblings", "random", 0): {
        "N": "Drawn from 9 points of other coarse classes, near or far. The circle "
        "only shows its distance.",
        "P⁻": "Drawn from 7 points of a2 and a3, all with the same chance.",
    },
}


def case(points, fine, coarse, **settings) -> dict:
    """What the page and follow() both understand."""
    rows = zip(points.tolist(), fine.tolist(), coarse.tolist(), strict=True)
    known = {"method": "method1", "batch": "all", "r": 0, "draw": 0, "steps": 2}
    known |= {"m1": 0.7, "m2": 0.3, "rate": 0.05}
    return {"points": [[x, y, f, c] for (x, y), f, c in rows], **known, **settings}


def generated(rng: numpy.random.Generator, tied: bool) -> dict:
    """A few points in the plane, with labels and settings."""
    n = int(rng.integers(4, 26))
    xy = rng.normal(size=(n, 2))
    xy[1] = xy[0]  # no direction from one to the other
    if tied:  # a coarse grid: equal points, and many equally far
        xy = rng.integers(-2, 3, size=(n, 2)) / 2
    fine = rng.integers(0, rng.choice([3, 4, 5, 6]), size=n)
    coarse_of = rng.integers(0, rng.choice([2, 2, 3]), size=9)
    if rng.random() < 0.3:  # the others are far away: nothing lies outside
        xy[coarse_of[fine] == 0] /= 50
    m1, m2 = [(0.7, 0.3), (1.5, 0.3), (0.05, 0.05)][rng.integers(3)]
    return case(
        xy,
        rng.permutation(30)[fine],  # labels are any numbers, in any order
        coarse_of[fine],
        method=METHODS[rng.integers(3)],
        batch=["one", "all"][rng.integers(2)],
        r=int(rng.integers(n)),
        draw=int(rng.integers(900)),
        m1=m1,
        m2=m2,
        rate=[0.02, 0.3][rng.integers(2)],
        steps=0 if tied else 2,  # at a tie the last bit decides on the gradient
    )


@pytest.fixture(scope="module")
def cases() -> list[dict]:
    rng = numpy.random.default_rng(0)
    return [generated(rng, tied=k % 2 == 0) for k in range(140)]


@pytest.fixture(scope="module")
def answers(cases) -> dict:
    """What the page's scripts say, all in one run of node."""
    if not (node := shutil.which("node")):
        pytest.skip("node is not installed; it runs the page's scripts without a page")
    asked = {"cases": cases, "explained": list(WORDS), "seeds": 1000}
    script = str(Path(__file__).with_name("lab_cases.cjs"))
    done = subprocess.run(
        [node, script], input=json.dumps(asked), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def follow(given: dict, draws: list) -> dict:
    """The package's quadruplets before each step, (6) of them, and where steps lead."""
    rows = torch.tensor(given["points"], dtype=torch.float64)
    points, (fine, coarse) = rows[:, :2], rows[:, 2:].long().T
    usable = [
        r
        for r in range(len(rows))
        if (fine == fine[r]).sum() > 1
        and ((coarse == coarse[r]) & (fine != fine[r])).any()
        and (coarse != coarse[r]).any()
    ]
    if given["batch"] == "one":
        usable = [r for r in usable if r == given["r"]]
    found = {"quadruplets": [], "trace": [], "reached": points}
    for step in range(given["steps"] + 1 if usable else 0):
        drawn = torch.tensor([draws[given["draw"] + step][r] for r in usable]).double()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "rand", lambda *size, drawn=drawn, **_: drawn.T)
            references = torch.tensor(usable)
            chosen = select_quadruplets(
                points, fine, coarse, references, given["method"]
            ).stack()  # (4, B)
        found["quadruplets"].append(chosen.T.tolist())
        found["reached"] = points
        points = points.clone().requires_grad_()
        margins = {"margin1": given["m1"], "margin2": given["m2"]}
        four = [points[i] for i in chosen]
        loss = losses.combined_loss(*four, **margins, reduction="sum")
        found["trace"].append(loss.item())
        loss.backward()
        points = (points - given["rate"] * points.grad).detach()
        x, y = points.T  # which stop at the frame
        points = torch.stack([x.clamp(-2.45, 2.75), y.clamp(-2.2, 2.4)], dim=1)
    return found


def test_the_page_chooses_and_steps_as_the_package_does(cases, answers):
    batches = 0
    for given, answer in zip(cases, answers["cases"], strict=True):
        found = follow(given, answers["draws"])
        assert answer["quadruplets"] == found["quadruplets"], given
        assert answer["trace"] == pytest.approx(found["trace"], rel=1e-9, abs=1e-9)
        reached = torch.tensor(answer["reached"], dtype=torch.float64)
        torch.testing.assert_close(reached, found["reached"], rtol=0, atol=1e-8)
        batches += bool(found["trace"])
    assert 70 < batches < len(cases)  # some have no quadruplet


def test_draws_are_spread_evenly(answers):
    drawn = numpy.array([draw[seed % 20] for seed, draw in enumerate(answers["draws"])])
    for column in drawn.T:
        assert column.min() >= 0 and column.max() < 1
        counts = numpy.histogram(column, bins=5, range=(0, 1))[0]
        assert counts.min() > 180 and counts.max() < 220


def test_the_page_says_why(answers):
    for said, expected in zip(answers["words"], WORDS.values(), strict=True):
        assert said | expected == said


# --- scenes and files ------------------------------------------------------------


def quadruplet(scene: lab.Scene, method: str) -> list[int]:
    labels, r = scene.labels, torch.tensor([scene.reference])
    chosen = select_quadruplets(scene.points, labels.fine, labels.coarse, r, method)
    return chosen.stack()[:, 0].tolist()


def test_scenes_show_what_they_are_named_after():
    first, inside, alone, siblings = lab.scenes()
    for scene in (first, siblings):
        one, two = quadruplet(scene, "method1"), quadruplet(scene, "method2")
        assert one[1] != two[1] and one[2] != two[2] and one[3] == two[3]
        r, p1, p2 = scene.points[[one[0], one[2], two[2]]]
        assert torch.dist(r, p1) > torch.dist(r, p2)  # the answer on whose P⁻ is nearer
    assert quadruplet(inside, "method1") == quadruplet(inside, "method2")
    r, pp, pn, n = inside.points[quadruplet(inside, "method1")]
    assert torch.dist(r, pp) < torch.dist(r, n) > torch.dist(r, pn)
    with pytest.raises(HierarchyError, match="P⁻"):
        quadruplet(alone, "method2")


def test_the_files_are_what_the_package_writes(tmp_path):
    (tmp_path / lab.FOLDER).mkdir(parents=True)
    lab.write(tmp_path)
    names = ["scenes.js"]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if f"matplotlib=={version('matplotlib')}" in pins:  # another draws otherwise
        names += ["twin.svg", "../hero.svg"]
    for name in names:
        written = (tmp_path / lab.FOLDER / name).read_text(encoding="utf-8")
        stored = (LAB / name).read_text(encoding="utf-8")
        assert written == stored, "run python -m qsel.book.figures.lab"


def light(colour: str) -> float:
    """Relative luminance, as WCAG defines it."""
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in to_rgb(colour)
    ]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_colours_and_markers_are_those_of_the_figures_and_stand_out():
    css = (LAB / "lab.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--lab-(\w+): .*?(#\w+)", part))
        for part in css.split("[data-theme")
    ]
    bright, dark = themes[0], themes[1]
    coarse = [to_hex(colour) for colour in figures.coarse_colours(3)]
    assert [bright[k] for k in "012"] == coarse
    dark["edge"] = dark["2"]
    for theme in (bright, dark):
        for name in ("0", "1", "edge", "arrow", "ink"):
            low, high = sorted([light(theme[name]), light(theme["ground"])])
            assert (high + 0.05) / (low + 0.05) >= 3, name
    for scene in lab.scenes():
        assert set(figures.fine_markers(scene.labels.coarse_of_fine)) <= set("os^")
        assert (
            len(scene.labels.coarse_names) <= 3
        )  # as many as lab.css and draw.js have


# --- the text of the page --------------------------------------------------------


@pytest.fixture
def plain():
    """What the page's only block of Python defines."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    defined = {}
    exec(code, defined)
    return defined


@pytest.mark.parametrize("method", ["method1", "method2"])
@pytest.mark.parametrize("spread", [0, 2])
def test_the_plain_loops_choose_what_the_package_chooses(plain, method, spread):
    generator = torch.Generator().manual_seed(0)
    fine = torch.arange(12).repeat_interleave(5)  # (N,), three in each coarse class
    coarse = fine // 3
    # Mixed, or so far apart that some have nothing outside.
    centres = spread * torch.randn(12, 3, generator=generator).double()
    points = centres[fine] + torch.randn(60, 3, generator=generator)
    everyone = torch.arange(60)
    chosen = select_quadruplets(points, fine, coarse, everyone, method, generator)
    given = points.tolist(), fine.tolist(), coarse.tolist()
    for r, *expected in chosen.stack().T.tolist():
        plain["choice"] = lambda _, place=expected[1]: int(fine[place])
        assert list(plain["quadruplet"](*given, r, method)) == expected


def test_the_answer_on_quadruplets_without_a_loss():
    shown = SCENES["siblings"]
    fine, coarse, r = shown.labels.fine, shown.labels.coarse, shown.reference
    own, kin = fine == fine[r], coarse == coarse[r]
    alike = own.clone()
    alike[r] = False
    places = [m.nonzero()[:, 0].tolist() for m in (alike, kin & ~own, ~kin)]
    found = torch.tensor([[r, *three] for three in product(*places)])  # (B, 4)
    four = [shown.points[column] for column in found.T]
    joint = losses.joint_loss(*four, reduction="none")
    rows = zip(*(x[:, None] for x in four), strict=True)
    whole = torch.stack([losses.global_loss(*row) for row in rows])
    zero = int((joint + whole == 0).sum())
    assert f"Of the {len(found)} quadruplets that this R can have, {zero} have" in PAGE


def test_the_answers_on_colours_markers_and_m1():
    """Mean distances within a fine, between sibling and between coarse classes."""
    shown = SCENES["siblings"]
    fine, coarse = shown.labels.fine, shown.labels.coarse
    draws = torch.rand(21, len(fine), 3, generator=torch.Generator().manual_seed(0))
    draws = draws.tolist()
    upper = torch.ones(len(fine), len(fine)).triu(1).bool()
    same, kin = fine[:, None] == fine, coarse[:, None] == coarse

    def means(points):
        d = torch.cdist(points, points)
        return [float(d[m & upper].mean()) for m in (same, kin & ~same, ~kin)]

    start = means(shown.points)
    for method in ("method1", "method2"):
        settings = {"method": method, "steps": 20}
        narrow, wide = (
            means(
                follow(case(shown.points, fine, coarse, m1=m1, **settings), draws)[
                    "reached"
                ]
            )
            for m1 in (0.3, 1.5)
        )
        for own, siblings, others in (narrow, wide):
            assert own < start[0] / 1.5 and siblings < start[1] and others > start[2]
        assert wide[0] < narrow[0] and wide[1] > narrow[1]


def test_only_the_lab_loads_its_scripts():
    pages = [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    loading = [p.name for p in pages if "_static/lab/" in p.read_text(encoding="utf-8")]
    assert loading == ["lab.md"]
