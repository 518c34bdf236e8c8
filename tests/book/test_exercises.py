"""The exercises, both ways: solutions are right, stubs are open, slips are told."""

import re
from collections import Counter
from fractions import Fraction
from functools import partial

import exercise_cells
import numpy as np
import pytest
import torch

from qsel import losses
from qsel.book import exercises
from qsel.book.exercises import Slip, all_judges, check, choose, hold, near

WRITTEN = exercise_cells.written()
LEVELS = ("Predict", "Compute", "Build", "Train", "Prove")
PAGES = {"performance": "speed", exercise_cells.IN_LINES: "lines"}


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QSEL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
        exercise_cells.lines_page.cache_clear()


# --- the cells -------------------------------------------------------------------


def test_every_judge_has_its_cells_and_every_cell_its_judge():
    assert set(all_judges()) == set(WRITTEN)
    for name, cells in WRITTEN.items():
        slug = name.replace(".", "-")
        title = f"(exercise-{slug})=\n**Exercise {name}, {cells.level}: "
        assert cells.question.startswith(title) and cells.level in LEVELS
        assert "```{dropdown} Hint\n" in cells.question
        assert "..." in cells.stub and f'exercises.check("{name}", ' in cells.stub
        assert f'exercises.check("{name}", ' in cells.solution
        number = re.sub(r"[^\d]+", ".", cells.notebook).strip(".")
        page = PAGES.get(cells.notebook, number)
        assert re.fullmatch(rf"{re.escape(page)}-?[a-z]", name)


def test_there_are_enough_of_each_level():
    count = Counter(cells.level for cells in WRITTEN.values())
    assert min(count[level] for level in LEVELS[:3]) >= 10
    assert count["Train"] >= 4 and count["Prove"] >= 2


@pytest.mark.parametrize("page", sorted({w.notebook for w in WRITTEN.values()}))
def test_a_stub_is_open_and_its_solution_is_right(page, capsys):
    on_page = page == exercise_cells.IN_LINES
    around = exercise_cells.lines_page() if on_page else {"__name__": "cell"}
    capsys.readouterr()
    for name, cells in WRITTEN.items():
        if cells.notebook != page:
            continue
        exec(compile(cells.stub, name, "exec"), dict(around))
        assert capsys.readouterr().out == f"Exercise {name}: not answered yet.\n"
        exec(compile(cells.solution, name, "exec"), dict(around))
        line = capsys.readouterr().out.splitlines()[-1]
        assert re.fullmatch(rf"Exercise {re.escape(name)}: right\. .{{10,}}\.", line)


@pytest.mark.parametrize(
    "name", [n for n, w in WRITTEN.items() if w.level == "Predict" and n != "4a"]
)
def test_a_question_offers_what_the_check_takes(name, capsys):
    """Of the choices in the stub exactly one is right; what is said to the others
    does not depend on them, and names none."""
    comments = re.findall(r"^#(?! Ex)(.*)$", WRITTEN[name].stub, re.MULTILINE)
    choices = re.findall(r'"([^"]+)"', " ".join(comments))
    for choice in choices:
        check(name, choice)
    lines = capsys.readouterr().out.splitlines()
    refused = [line for line in lines if ": right. " not in line]
    assert len(lines) == len(choices) > 2 and len(refused) == len(choices) - 1
    assert len(set(refused)) == 1 and "is no choice" not in refused[0]
    assert not any(f"{choice!r}" in refused[0] for choice in choices)


# --- typical slips, and what is said to them -------------------------------------


def drops_the_first_column(x, labels):
    nearest = torch.cdist(x, x).argsort(dim=1, stable=True)[:, 1]
    return (labels[nearest] == labels).float().mean()


def three_terms(to_pp, to_pn, to_n, correction=0, m=0.4):
    spread = sum(d.var(correction=correction) for d in (to_pp, to_pn, to_n))
    first = (to_pp.mean() - to_pn.mean() + m).relu()
    return spread + first + (to_pn.mean() - to_n.mean() + 0.3).relu()


def any_p_minus(fine, coarse, q):
    own = (fine[q[1]] == fine[q[0]]) & (q[1] != q[0])
    return own & (coarse[q[2]] == coarse[q[0]]) & (coarse[q[3]] != coarse[q[0]])


def weights_by_the_text(s1, s2, c, f, w1, w2):
    return losses.classification_loss(s1, s2, c, f, w2, w1, reduction="none")


def two_hinges(to_pp, to_pn, to_n, m1, m2, tiny=1e-7, derived=False):
    first = to_pn / (to_pp + m1 - (0 if derived else m2)).clamp_min(tiny)
    second = to_n / (to_pn + m2).clamp_min(tiny)
    return (1 - first).relu() + (1 - second).relu()


def positive(x, fine, r, n, on_the_sphere=False, furthest=True):
    d = torch.linalg.vector_norm(x - x[r], dim=1)
    own = fine == fine[r]
    own[r] = False
    outside = own & ((d >= d[n]) if on_the_sphere else (d > d[n]))
    if furthest and not outside.any():
        return d.masked_fill(~own, -torch.inf).argmax()
    return d.masked_fill(~(outside if outside.any() else own), torch.inf).argmin()


def all_at_once(x, rows):
    return torch.cdist(x, x).fill_diagonal_(torch.inf).argmin(1)


WRONG = [
    ("1b", (1.0, 1.0, 1.0), "R@1: no image is its own neighbour"),
    ("1b", (1 / 6, 2 / 3, 0.5), "MAP@R: 0.5 is too high"),
    ("1c", drops_the_first_column, "the answer is"),
    ("2b", 1.1, "0.6 + 0.5; are the distances in (2) plain?"),
    ("2c", ([0.1, 0.2], [0.6, 0.7], [1.0, 1.2]), "both quadruplets are in order"),
    ("2c", ([0.9, 0.8], [0.8, 0.7], [1.3, 1.8]), "the first hinge of (3) costs 0.50"),
    ("2d", partial(three_terms, correction=1), "in good order, with variance"),
    ("2d", partial(three_terms, m=0.7), "the first hinge alone pays"),
    ("3b", 2048 * 1024 + 1024 * 22 + 1024 * 98, "leaves out the biases"),
    ("3c", any_p_minus, "whose P- is P+ entry 0 is True; expected False"),
    ("3.1b", 9.18, "leaves out the weight of the fine head"),
    ("3.1c", weights_by_the_text, "for the coarse head alone entry 0 is"),
    ("3.2b", 3.0, "has t1 - t2, not t1"),
    ("3.2c", 1.5, "for the derived margin"),
    ("3.2d", partial(two_hinges, derived=True), "first hinge alone pays"),
    ("3.2d", partial(two_hinges, tiny=0), "margins 0.0 and 0.0 entry"),
    ("3.2e", 0.894, "that is D(R,P-) + m2"),
    ("3.2e", 0.675, "the first fraction has m1 - m2"),
    ("3.3c", ((1, 5, 6), (1, 5, 6)), "Method 1, P+: 1 is not it"),
    ("3.3c", ((3, 5, 7), (1, 5, 7)), "Method 1, N: 7 is not it"),
    ("3.3d", partial(positive, on_the_sphere=True), ", R = "),
    ("3.3d", partial(positive, furthest=False), ", R = "),
    ("3.3e", 0.2308, "further apart than 1"),
    ("4a", 1.0, "expected percent"),
    ("4b", 0.0, "0 is too low"),
    ("4c", lambda gaps: sum(gaps) > 0, "that only a normal distribution calls"),
    ("4.1b", 1.0, "to help, or to harm"),
    ("4.1c", lambda one, other: one[5] - other[5], "for three of six seeds"),
    ("5b", 11, "need Student's t"),
    ("5c", lambda d, s: 11, "for difference 0.3, deviation 0.5 the answer is 11"),
    ("speed-c", 14.4, "GB of 10^9 bytes"),
    ("speed-d", all_at_once, "numbers take"),
    ("lines-c", (lambda d, classes: classes.sum(), "lower", (1, 2)), "a batch of 32"),
    ("lines-d", ("lower", (1.0, 200)), "what was measured of Random, in percent: 200"),
    ("lines-d", ("higher", (1.0, 9.0)), "you measured Method 2 1.0 %, Random 9.0 %"),
    ("lines-d", ("worse", (1.0, 9.0)), "'worse' is no choice"),
]


@pytest.mark.parametrize("name, answer, words", WRONG)
def test_a_typical_slip_is_told_in_a_sentence(name, answer, words, capsys):
    check(name, answer)
    out = capsys.readouterr().out
    assert re.fullmatch(rf"Exercise {re.escape(name)}: not yet: .{{8,}}[.?]\n", out)
    assert words in out


def test_a_rule_is_told_which_role_is_off(capsys):
    """On the page of the paper in 150 lines: a wrong N, and an N that is counted."""
    page = exercise_cells.lines_page()
    labels, random = page["labels"], page["random"]
    check("lines-a", (labels, random, "lower", (1, 2)))
    assert re.search(r"R for 100%, P\+ for 100%, P- for 100%, N for \d%", said(capsys))
    check("lines-b", (labels, lambda old, new, r: 100.0, 50, 50))
    assert "for embeddings that move a little the answer is 100" in said(capsys)
    check("lines-b", (None, 1, 2, 3))
    assert "not answered yet" in said(capsys)
    check("lines-b", (1, 1, 2, 3))
    assert "run the cells above" in said(capsys)


def said(capsys) -> str:
    return capsys.readouterr().out


# --- right answers of other kinds, and anything at all ---------------------------


def recall_by_loops(x, labels):
    hits = 0
    for i, d in enumerate(torch.cdist(x.double(), x.double()).tolist()):
        nearest = min((j for j in range(len(x)) if j != i), key=d.__getitem__)
        hits += int(labels[nearest] == labels[i])
    return Fraction(hits, len(x))


RIGHT = [
    ("1b", np.array([0.17, 0.67, 0.21])),
    ("1c", recall_by_loops),
    ("2b", torch.tensor(0.927, requires_grad=True)),
    ("2c", ((0, 1), (1, 1), np.array([2, 2]))),
    ("3.3c", (torch.tensor([3, 5, 6]), [1.0, 5.0, 6.0])),
    ("3.3d", positive),
    ("5b", np.int64(14)),
]
ODD = [
    *("", True, (), {}, object(), float("nan"), 1j, b"7", torch.zeros(2, 2), int, len),
    (("a", "b", "c"),) * 2,
    ("a", "b", "c", "d"),
    ([float("nan")] * 2,) * 3,
    lambda *arguments: "1",
    lambda *arguments: {},
    lambda *arguments: 1 / 0,
    lambda *arguments: torch.zeros(7, 7),
]


def test_a_right_answer_of_another_kind_is_right(capsys):
    for name, answer in RIGHT:
        check(name, answer)
        assert said(capsys).startswith(f"Exercise {name}: right. "), answer


def test_no_answer_raises(capsys):
    for name in WRITTEN:
        for answer in ODD:
            check(name, answer)
        lines = said(capsys).splitlines()
        assert len(lines) == len(ODD)
        assert all(line.startswith(f"Exercise {name}: not yet: ") for line in lines)


# --- the machinery ---------------------------------------------------------------


def test_an_answer_that_was_not_given(capsys):
    def documented(a, b):
        """Says what it will do."""

    for answer in (None, ..., documented, (1, ...), [None, 2], ((...,), 1)):
        check("2d", answer)
    assert set(said(capsys).splitlines()) == {"Exercise 2d: not answered yet."}
    check("2d", lambda *distances: print(end=""))
    assert "returns nothing; where is its return?" in said(capsys)


def test_an_unknown_exercise_is_named():
    with pytest.raises(ValueError, match=r"no exercise '2z'; there are 1a, "):
        check("2z", 1)
    with pytest.raises(ValueError, match="two exercises are called 2d"):
        exercises.exercise("2d")


def test_numbers_and_choices_say_what_is_wrong():
    near(torch.tensor([2.02]), 2.0, 0.05)
    choose("  one   way ", ("one way", "another"), "one way", "think")
    for call, words in (
        (partial(near, 1.5, 2.0, 0.05), "1.5 is too low"),
        (partial(near, 2_097_152, 2.0, 0.05, part="weights"), "weights: 2,097,152 is"),
        (partial(near, 4.01, 2.0, 0.05, {4.0: "squared"}), "squared"),
        (partial(near, "2", 2.0, 0.05), "not the text '2'"),
        (partial(choose, "One", ("one", "two"), "one", "think"), "choose one of 'one'"),
    ):
        with pytest.raises(Slip, match=words):
            call()


def test_functions_are_held_against_another():
    cases = [("ones", (torch.ones(3),)), ("zeros", (torch.zeros(3),))]
    assert hold(lambda x: x + 1, cases, lambda x: x + 1.00001) == 2
    for function, words in (
        (lambda x: 2 * x, r"for zeros entry 0 is 0; expected 1"),
        (lambda x: x.sum(), r"for ones the answer has shape \(\); expected \(3,\)"),
        (lambda x: {}["q"], "for ones the function raised KeyError: 'q'"),
    ):
        with pytest.raises(Slip, match=words):
            hold(function, cases, lambda x: x + 1)
    # NaN and infinity are answers like any other, and arguments stay as they are.
    strange = torch.tensor([float("nan"), float("inf"), -float("inf")])
    assert hold(lambda x: x.mul_(1), [("s", (strange,))], lambda x: x) == 1
    hold(lambda x: x.zero_(), cases, lambda x: 0 * x)
    assert cases[0][1][0].eq(1).all()
