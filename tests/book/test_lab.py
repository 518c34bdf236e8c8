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
NEAR_ONE = 1 - 2**-53  # the largest number that can be drawn
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
START = {"r": 0, "draw": 3, "m1": 0.7, "m2": 0.3, "rate": 0.05}
WALKS = [
    {**START, **settings, "method": method}
    for method in METHODS
    for settings in (
        {"scene": "figure-2", "batch": "one", "rate": 0.3, "steps": 6},
        {"scene": "siblings", "batch": "all", "rate": 0.1, "steps": 3},
        {"scene": "siblings", "batch": "all", "m1": 0.3, "steps": 20},
        {"scene": "siblings", "batch": "all", "m1": 1.5, "steps": 20},
    )
]


def generated(rng: numpy.random.Generator) -> dict:
    """A few points in the plane, with labels, a method and what is drawn."""
    n = int(rng.integers(4, 26))
    kind = rng.integers(4)
    if kind == 0:
        xy = rng.normal(size=(n, 2))
    elif kind == 1:  # a coarse grid: ties everywhere, and equal points
        xy = rng.integers(-2, 3, size=(n, 2)) / 2
    else:  # hundredths, as on the page
        xy = rng.integers(-200, 201, size=(n, 2)) / 100
    fine = rng.integers(0, rng.choice([1, 3, 4, 5, 6]), size=n)
    coarse_of = rng.integers(0, rng.choice([1, 2, 2, 2, 3]), size=9)
    if kind == 3:  # one coarse class far from all others: nothing lies outside
        xy[coarse_of[fine] == 0] /= 50
    names = rng.permutation(30)[:9]  # labels are any numbers, in any order
    references = rng.integers(0, n, size=4)
    drawn = rng.choice([0, 0.25, 1 / 3, 0.5, 2 / 3, NEAR_ONE, *rng.random(6)], (4, 3))
    points = [
        [float(x), float(y), int(names[f]), int(coarse_of[f])]
        for (x, y), f in zip(xy, fine, strict=True)
    ]
    return {
        "points": points,
        "method": METHODS[rng.integers(3)],
        "references": references.tolist(),
        "draws": drawn.tolist(),
        "margins": [(0.7, 0.3), (1.5, 0.3), (0.05, 0.05)][rng.integers(3)],
    }


@pytest.fixture(scope="module")
def cases() -> list[dict]:
    rng = numpy.random.default_rng(0)
    return [generated(rng) for _ in range(120)]


@pytest.fixture(scope="module")
def answers(cases) -> dict:
    """What the page's scripts say, all in one run of node."""
    if not (node := shutil.which("node")):
        pytest.skip("node is not installed; it runs the page's scripts without a page")
    asked = {"cases": cases, "explained": list(WORDS), "walks": WALKS, "seeds": 1000}
    script = str(Path(__file__).with_name("lab_cases.cjs"))
    done = subprocess.run(
        [node, script], input=json.dumps(asked), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def drawing(monkeypatch, rows: list) -> None:
    """Have the package draw these: three numbers for each reference."""
    drawn = torch.tensor(rows, dtype=torch.float64).T  # (3, B)
    monkeypatch.setattr(torch, "rand", lambda *size, **options: drawn)


def chosen_by_the_package(case: dict, monkeypatch) -> list:
    """Indices of each reference, or the partner that it lacks."""
    rows = torch.tensor(case["points"], dtype=torch.float64)
    xy, (fine, coarse) = rows[:, :2], rows[:, 2:].long().T
    found = []
    for r, draw in zip(case["references"], case["draws"], strict=True):
        drawing(monkeypatch, [draw])
        try:
            chosen = select_quadruplets(
                xy, fine, coarse, torch.tensor([r]), case["method"]
            )
            found.append(chosen.stack()[:, 0].tolist())
        except HierarchyError as error:
            found.append(re.search(r"have no (\S+):", str(error)).group(1))
    return found


def test_the_page_chooses_as_the_package_does(cases, answers, monkeypatch):
    outcomes = {"whole": 0}
    for case, answer in zip(cases, answers["cases"], strict=True):
        expected = chosen_by_the_package(case, monkeypatch)
        assert answer["quadruplets"] == expected, case
        for q in expected:
            kind = q if isinstance(q, str) else "whole"
            outcomes[kind] = outcomes.get(kind, 0) + 1
    assert set(outcomes) == {"whole", "P⁺", "P⁻", "N"}
    assert min(outcomes.values()) > 15 and outcomes["whole"] > 150


def test_draws_are_spread_evenly(answers):
    drawn = numpy.array([draw[seed % 20] for seed, draw in enumerate(answers["draws"])])
    for column in drawn.T:
        assert column.min() >= 0 and column.max() < 1
        counts = numpy.histogram(column, bins=5, range=(0, 1))[0]
        assert counts.min() > 180 and counts.max() < 220


def test_the_page_computes_the_losses_and_their_gradients(cases, answers):
    compared = at_a_kink = 0
    for case, answer in zip(cases, answers["cases"], strict=True):
        whole = [q for q in answer["quadruplets"] if not isinstance(q, str)]
        if not whole:
            assert answer["losses"] is None
            continue
        found, (m1, m2) = answer["losses"], case["margins"]
        xy = torch.tensor([p[:2] for p in case["points"]], dtype=torch.float64)
        xy.requires_grad_()
        four = [xy[list(column)] for column in zip(*whole, strict=True)]
        values = {
            "joint": losses.joint_loss(*four, 0.0, m1, m2, reduction="sum"),
            "global": losses.global_loss(*four, m1, m2),
            "combined": losses.combined_loss(*four, 0.0, m1, m2, reduction="sum"),
        }
        for name, expected in values.items():
            assert found[name] == pytest.approx(expected.item(), rel=0, abs=1e-9)
        # At the very kink of a hinge the last bit decides which of two slopes it has.
        d = torch.stack([losses.distance(four[0], x).detach() for x in four[1:]])
        assert torch.allclose(torch.tensor(found["distances"]).double().T, d)
        pp, pn, n = d
        means = [pp.mean() - pn.mean() + (m1 - m2), pn.mean() - n.mean() + m2]
        hinges = [*(pp + (m1 - m2) - pn), *(pn + m2 - n), *means]
        if min(abs(float(z)) for z in hinges) < 1e-9:
            at_a_kink += 1
            continue
        values["combined"].backward()
        gradient = torch.tensor(found["gradient"], dtype=torch.float64)
        torch.testing.assert_close(gradient, xy.grad, rtol=1e-9, atol=1e-9)
        compared += 1
    assert compared > 40 and at_a_kink < compared / 5


@pytest.mark.parametrize("k", [k for k, walk in enumerate(WALKS) if walk["steps"] < 9])
def test_steps_are_those_of_the_packages_losses(answers, monkeypatch, k):
    walk = WALKS[k]
    scene = SCENES[walk["scene"]]
    points, labels = scene.points.clone(), scene.labels
    references = torch.tensor([walk["r"]])
    if walk["batch"] == "all":
        references = labels.references()
    trace = []
    for step in range(walk["steps"] + 1):
        drawn = answers["draws"][walk["draw"] + step]
        drawing(monkeypatch, [drawn[i] for i in references])
        points.requires_grad_()
        chosen = select_quadruplets(
            points, labels.fine, labels.coarse, references, walk["method"]
        )
        four = [points[i] for i in chosen.stack()]
        loss = losses.combined_loss(
            *four, margin1=walk["m1"], margin2=walk["m2"], reduction="sum"
        )
        trace.append(loss.item())
        (slope,) = torch.autograd.grad(loss, points)
        reached, points = points.detach(), points.detach() - walk["rate"] * slope
        points = torch.stack(  # a point stops at the frame
            [points[:, 0].clamp(-2.45, 2.75), points[:, 1].clamp(-2.2, 2.4)], dim=1
        )
    assert answers["walks"][k]["trace"] == pytest.approx(trace, abs=1e-9)
    found = torch.tensor(answers["walks"][k]["reached"], dtype=torch.float64)
    torch.testing.assert_close(found, reached, rtol=0, atol=1e-9)


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
        names.append("twin.svg")
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


def test_the_answer_on_whose_p_minus_is_nearer():
    scene = SCENES["siblings"]

    def away(method):
        r, _, minus, _ = scene.points[quadruplet(scene, method)]
        return torch.dist(r, minus)

    assert all(away("method2") < away("method1") for _ in range(6))


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


def test_the_answers_on_colours_markers_and_m1(answers):
    """Mean distances within a fine, between sibling and between coarse classes."""
    shown = SCENES["siblings"]
    fine, coarse = shown.labels.fine, shown.labels.coarse
    upper = torch.ones(len(fine), len(fine)).triu(1).bool()
    same, kin = fine[:, None] == fine, coarse[:, None] == coarse

    def means(points):
        d = torch.cdist(points, points)
        return [float(d[m & upper].mean()) for m in (same, kin & ~same, ~kin)]

    start = means(shown.points)
    for method in ("method1", "method2"):
        narrow, wide = (
            means(torch.tensor(found["reached"], dtype=torch.float64))
            for walk, found in zip(WALKS, answers["walks"], strict=True)
            if walk["method"] == method and walk["steps"] == 20
        )
        for own, siblings, others in (narrow, wide):
            assert own < start[0] / 1.5 and siblings < start[1] and others > start[2]
        assert wide[0] < narrow[0] and wide[1] > narrow[1]


def test_only_the_lab_loads_its_scripts():
    pages = [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    loading = [p.name for p in pages if "_static/lab/" in p.read_text(encoding="utf-8")]
    assert loading == ["lab.md"]
