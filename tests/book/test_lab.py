"""The selection lab's scripts answer as the package does, and its files are current.

The page has its own copy of the rules, in JavaScript. Both are given the same cases,
many of them with ties, empty outsides and equal points.
"""

import json
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy
import pytest
import torch
from matplotlib.colors import to_hex

from qsel import losses
from qsel.book import figures
from qsel.book.figures import lab
from qsel.hierarchy import HierarchyError
from qsel.selection import select_quadruplets

ROOT = Path(__file__).parents[2]
LAB = ROOT / "book" / "_static" / "lab"
METHODS = ("random", "method1", "method2")
NEAR_ONE = 1 - 2**-53  # the largest number that can be drawn
WORDS = {  # scene, method, reference → what the page must say
    ("figure-2", "method1", 0): {
        "N": "The nearest to R of 8 points of other coarse classes. The circle goes "
        "through it.",
        "P⁺": "Of 6 other points of a1, 2 are inside the circle and excluded; of the 4 "
        "outside this is the nearest to N.",
        "P⁻": "Of 5 points of a2, 1 is inside the circle and excluded; of the 4 "
        "outside this is the nearest to N.",
    },
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
    ("siblings", "method1", 0): {
        "P⁻": "Of 7 points of a2 and a3, 1 is inside the circle and excluded; of the 6 "
        "outside this is the nearest to N.",
    },
    ("siblings", "random", 0): {
        "N": "Drawn from 9 points of other coarse classes, near or far. The circle "
        "only shows its distance.",
        "P⁻": "Drawn from 7 points of a2 and a3, all with the same chance.",
    },
}


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
    references = rng.integers(0, n, size=6)
    drawn = rng.choice([0, 0.25, 1 / 3, 0.5, 2 / 3, NEAR_ONE, *rng.random(6)], (6, 3))
    points = [
        [float(x), float(y), int(names[f]), int(coarse_of[f])]
        for (x, y), f in zip(xy, fine, strict=True)
    ]
    return {
        "points": points,
        "method": METHODS[rng.integers(3)],
        "references": references.tolist(),
        "draws": drawn.tolist(),
    }


@pytest.fixture(scope="module")
def cases() -> list[dict]:
    rng = numpy.random.default_rng(0)
    return [generated(rng) for _ in range(300)]


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


def chosen_by_the_package(case: dict, monkeypatch) -> list:
    """Indices of each reference, or the partner that it lacks."""
    rows = torch.tensor(case["points"], dtype=torch.float64)
    xy, (fine, coarse) = rows[:, :2], rows[:, 2:].long().T
    found = []
    for r, draw in zip(case["references"], case["draws"], strict=True):
        draw = torch.tensor(draw, dtype=torch.float64)[:, None]
        monkeypatch.setattr(torch, "rand", lambda *size, draw=draw, **options: draw)
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
    assert min(outcomes.values()) > 50 and outcomes["whole"] > 500


@pytest.mark.parametrize("seed", range(3))
def test_draws_are_spread_evenly(answers, seed):
    column = [draw[seed] for draw in answers["draws"]]
    assert min(column) >= 0 and max(column) < 1
    counts = numpy.histogram(column, bins=5, range=(0, 1))[0]
    assert counts.min() > 180 and counts.max() < 220


def test_the_page_computes_the_losses_and_their_gradients(cases, answers):
    compared = at_a_kink = 0
    for case, answer in zip(cases, answers["cases"], strict=True):
        whole = [q for q in answer["quadruplets"] if not isinstance(q, str)]
        if not whole:
            assert answer["losses"] is None
            continue
        found = answer["losses"]
        xy = torch.tensor([p[:2] for p in case["points"]], dtype=torch.float64)
        xy.requires_grad_()
        four = [xy[list(column)] for column in zip(*whole, strict=True)]
        d = torch.stack([losses.distance(four[0], other) for other in four[1:]])
        torch.testing.assert_close(torch.tensor(found["distances"]).double().T, d)
        combined = losses.combined_loss(*four)
        combined.backward()
        d, combined = d.detach(), combined.detach()
        four = [x.detach() for x in four]
        for name, expected in (
            ("joint", losses.joint_loss(*four)),
            ("global", losses.global_loss(*four)),
            ("combined", combined),
        ):
            assert found[name] == pytest.approx(float(expected), rel=0, abs=1e-9)
        # At the very kink of a hinge the last bit decides which of two slopes it has.
        pp, pn, n = d
        means = [pp.mean() - pn.mean() + 0.4, pn.mean() - n.mean() + 0.3]
        arguments = [*(1 - pn / (pp + 0.4)), *(1 - n / (pn + 0.3)), *means]
        if min(abs(float(z)) for z in arguments) < 1e-9:
            at_a_kink += 1
            continue
        gradient = torch.tensor(found["gradient"], dtype=torch.float64)
        torch.testing.assert_close(gradient, xy.grad, rtol=0, atol=1e-9)
        compared += 1
    assert compared > 75 and at_a_kink < compared / 10


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


def test_the_scenes_file_is_what_the_package_writes():
    stored = (LAB / "scenes.js").read_text(encoding="utf-8")
    assert stored == lab.scenes_script(), "run python -m qsel.book.figures.lab"


def test_the_twin_is_what_the_package_writes(tmp_path):
    pinned = re.search(
        r"^matplotlib==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
    if version("matplotlib") != pinned.group(1):
        pytest.skip("another matplotlib is installed than the pinned one")
    (tmp_path / lab.FOLDER).mkdir(parents=True)
    lab.write(tmp_path)
    written = (tmp_path / lab.FOLDER / "twin.svg").read_text(encoding="utf-8")
    stored = (LAB / "twin.svg").read_text(encoding="utf-8")
    assert written == stored, "run python -m qsel.book.figures.lab"


def test_colours_and_markers_are_those_of_the_figures():
    css = (LAB / "lab.css").read_text(encoding="utf-8")
    light = css.partition("data-theme")[0]
    scenes = lab.scenes()
    for k, colour in enumerate(figures.coarse_colours(3)):
        assert f"--lab-{k}: {to_hex(colour)};" in light
    assert max(len(scene.labels.coarse_names) for scene in scenes) == 3
    markers = {
        marker
        for scene in scenes
        for marker in figures.fine_markers(scene.labels.coarse_of_fine)
    }
    assert markers <= set("os^")  # the three shapes of lab.js


def test_only_the_lab_loads_its_scripts():
    pages = [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    loading = [p.name for p in pages if "_static/lab/" in p.read_text(encoding="utf-8")]
    assert loading == ["lab.md"]
