"""The text of the lab's page: plain loops that choose as the package, and answers."""

import re
from itertools import product
from pathlib import Path

import pytest
import torch

from qsel import losses
from qsel.book.figures import lab
from qsel.hierarchy import Hierarchy
from qsel.selection import select_quadruplets

PAGE = Path(__file__).parents[2] / "book" / "lab.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture
def names(page):
    """What the page's only block of Python defines."""
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    defined = {}
    exec(code, defined)
    return defined


@pytest.mark.parametrize("method", ["method1", "method2"])
@pytest.mark.parametrize("seed", [0, 2, 4])
def test_the_plain_loops_choose_what_the_package_chooses(names, method, seed):
    generator = torch.Generator().manual_seed(seed)
    fine = torch.arange(12).repeat_interleave(5)  # (N,), three in each coarse class
    coarse = fine // 3
    # From far apart to mixed, so that some have nothing outside.
    centres = 0.5 * seed * torch.randn(12, 3, generator=generator)
    points = centres[fine] + torch.randn(60, 3, generator=generator)
    everyone = torch.arange(60)
    chosen = select_quadruplets(
        points.double(), fine, coarse, everyone, method, generator
    ).stack()
    for r, *expected in chosen.T.tolist():
        names["choice"] = lambda _, place=expected[1]: int(fine[place])
        found = names["quadruplet"](
            points.double().tolist(), fine.tolist(), coarse.tolist(), r, method
        )
        assert list(found) == expected


def test_the_plain_loops_draw_among_the_siblings(names):
    fine, coarse = ["a1", "a1", "a2", "a3", "b1"], ["a", "a", "a", "a", "b"]
    points = [[0.0], [1.0], [2.0], [3.0], [0.5]]
    seen = {
        names["quadruplet"](points, fine, coarse, 0, "method2")[1] for _ in range(60)
    }
    assert seen == {2, 3}


def scene(key: str) -> lab.Scene:
    return next(s for s in lab.scenes() if s.key == key)


def places(labels: Hierarchy, r: int) -> tuple[list[int], list[int], list[int]]:
    """All that can be P⁺, P⁻ and N of a reference."""
    fine, coarse = labels.fine, labels.coarse
    own, kin = fine == fine[r], coarse == coarse[r]
    alike = own.clone()
    alike[r] = False
    return tuple(m.nonzero()[:, 0].tolist() for m in (alike, kin & ~own, ~kin))


def test_the_answer_on_quadruplets_without_a_loss(page):
    shown = scene("siblings")
    r = shown.points[shown.reference][None]  # (1, 2)
    total = zero = 0
    for three in product(*places(shown.labels, shown.reference)):
        four = [r, *(shown.points[i][None] for i in three)]
        zero += float(losses.combined_loss(*four)) == 0
        total += 1
    assert f"Of the {total} quadruplets that this R can have, {zero} have" in page


@pytest.mark.parametrize("seed", range(4))
def test_the_answer_on_where_method_1_finds_p_minus(seed):
    shown = scene("siblings")
    away = {}
    for method in ("method1", "method2"):
        r, _, minus, _ = select_quadruplets(
            shown.points,
            shown.labels.fine,
            shown.labels.coarse,
            torch.tensor([shown.reference]),
            method,
            torch.Generator().manual_seed(seed),
        ).stack()
        away[method] = float(losses.distance(shown.points[r], shown.points[minus]))
    assert away["method1"] > away["method2"]
