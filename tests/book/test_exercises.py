"""The exercises, both ways: solutions are right, stubs are open, slips are told."""

import re
from collections import Counter

import exercise_cells
import numpy as np
import pytest
import torch
from scipy.stats import norm

from qsel import losses
from qsel.book import exercises
from qsel.book.exercises import LEVELS, Slip, all_exercises, check, choose, hold, near

WRITTEN = exercise_cells.written()
MAIN = ("1", "2", "3", "3.1", "3.2", "3.3", "4")  # chapters with every level


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QSEL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def run(code: str) -> None:
    """A cell by itself: nothing of the page is there."""
    exec(compile(code, "cell", "exec"), {"__name__": "cell"})


# --- the cells -------------------------------------------------------------------


def test_every_judge_has_its_cells_and_every_cell_its_judge():
    known = all_exercises()
    assert set(known) == set(WRITTEN)
    for name, cells in WRITTEN.items():
        assert cells.level == known[name].level
        slug = name.replace(".", "-")
        title = f"(exercise-{slug})=\n**Exercise {name}, {cells.level}: "
        assert cells.question.startswith(title + known[name].title)
        assert "```{dropdown} Hint\n" in cells.question
        assert "..." in cells.stub and f'exercises.check("{name}", ' in cells.stub
        assert f'exercises.check("{name}", ' in cells.solution
        page = re.sub(r"[^\d]+", ".", cells.notebook).strip(".") or "speed"
        assert known[name].chapter == page


def test_there_are_enough_of_each_level():
    assert len(WRITTEN) >= 21
    count = Counter((all_exercises()[n].chapter, w.level) for n, w in WRITTEN.items())
    assert all(count[chapter, level] for chapter in MAIN for level in LEVELS)


def test_a_stub_is_open_and_its_solution_is_right(capsys):
    for name, cells in WRITTEN.items():
        run(cells.stub)
        assert capsys.readouterr().out == f"Exercise {name}: not answered yet.\n"
        run(cells.solution)
        line = capsys.readouterr().out.splitlines()[-1]
        assert re.fullmatch(rf"Exercise {re.escape(name)}: right\. .{{10,}}\.", line)


@pytest.mark.parametrize(
    "name", [n for n, written in WRITTEN.items() if written.level == "Predict"]
)
def test_a_question_offers_what_the_check_takes(name, capsys):
    """Of the choices in the stub exactly one is right."""
    comments = re.findall(r"^#(?! Ex)(.*)$", WRITTEN[name].stub, re.MULTILINE)
    choices = re.findall(r'"([^"]+)"', " ".join(comments))
    if not choices:  # a number is asked for
        assert name == "4a"
        return
    for choice in choices:
        check(name, choice)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(choices) > 2
    assert sum(": right. " in line for line in lines) == 1
    refused = [line for line in lines if ": right. " not in line]
    assert not any("is no choice" in line for line in refused)
    # What is said to a wrong answer does not depend on it, and names no choice.
    assert len(set(refused)) == 1
    assert not any(f"{choice!r}" in refused[0] for choice in choices)


# --- typical slips ---------------------------------------------------------------


def drops_the_first_column(x, labels):
    nearest = torch.cdist(x, x).argsort(dim=1, stable=True)[:, 1]
    return (labels[nearest] == labels).float().mean()


def counts_itself(x, labels):
    nearest = torch.cdist(x, x).argmin(1)
    return (labels[nearest] == labels).float().mean()


def unbiased(to_pp, to_pn, to_n):
    spread = sum(d.var() for d in (to_pp, to_pn, to_n))
    first = (to_pp.mean() - to_pn.mean() + 0.4).relu()
    return spread + first + (to_pn.mean() - to_n.mean() + 0.3).relu()


def hinge_by_hinge(to_pp, to_pn, to_n):
    spread = sum(d.var(correction=0) for d in (to_pp, to_pn, to_n))
    first = (to_pp - to_pn + 0.4).relu().mean()
    return spread + first + (to_pn - to_n + 0.3).relu().mean()


def without_r(fine, coarse, q):
    of_coarse = (coarse[q[2]] == coarse[q[0]]) & (fine[q[2]] != fine[q[0]])
    return (fine[q[1]] == fine[q[0]]) & of_coarse & (coarse[q[3]] != coarse[q[0]])


def any_p_minus(fine, coarse, q):
    own = (fine[q[1]] == fine[q[0]]) & (q[1] != q[0])
    return own & (coarse[q[2]] == coarse[q[0]]) & (coarse[q[3]] != coarse[q[0]])


def naive_softmax(s1, s2, c, f, w1, w2):
    def pay(scores, own):
        p = scores.exp() / scores.exp().sum(1, keepdim=True)
        return -p.gather(1, own[:, None]).squeeze(1).log()

    return w1 * pay(s1, c) + w2 * pay(s2, f)


def weights_by_the_text(s1, s2, c, f, w1, w2):
    one = losses.classification_loss(s1, s2, c, f, w2, w1, reduction="none")
    return one


def derived_margin(to_pp, to_pn, to_n, m1, m2):
    tiny = 1e-7
    first = (1 - to_pn / (to_pp + m1).clamp_min(tiny)).relu()
    return first + (1 - to_n / (to_pn + m2).clamp_min(tiny)).relu()


def unguarded(to_pp, to_pn, to_n, m1, m2):
    first = (1 - to_pn / (to_pp + m1 - m2)).relu()
    return first + (1 - to_n / (to_pn + m2)).relu()


def nearest_inside(x, fine, r, n):
    d = torch.linalg.vector_norm(x - x[r], dim=1)
    own = fine == fine[r]
    own[r] = False
    outside = own & (d > d[n])
    return d.masked_fill(~(outside if outside.any() else own), torch.inf).argmin()


def hardest(x, fine, r, n):
    d = torch.linalg.vector_norm(x - x[r], dim=1)
    own = fine == fine[r]
    own[r] = False
    return d.masked_fill(~own, -torch.inf).argmax()


def on_the_sphere(x, fine, r, n):
    d = torch.linalg.vector_norm(x - x[r], dim=1)
    own = fine == fine[r]
    own[r] = False
    outside = own & (d >= d[n])
    if outside.any():
        return d.masked_fill(~outside, torch.inf).argmin()
    return d.masked_fill(~own, -torch.inf).argmax()


def by_the_normal(gaps):
    if len(gaps) < 2:
        return False
    half = norm.ppf(0.975) * np.std(gaps, ddof=1) / len(gaps) ** 0.5
    return bool(np.mean(gaps) > half)


def by_the_mean(gaps):
    return sum(gaps) > 0


def of_the_means(switch, base):
    return np.mean(list(switch.values())) - np.mean(list(base.values()))


def empties_what_it_is_given(switch, base):
    switch.clear()
    base.clear()
    return float("nan")


def seeds_by_the_normal(difference, deviation):
    return max(2, int(np.ceil((1.96 * deviation / difference) ** 2)))


def all_at_once(x, rows):
    d = torch.cdist(x, x)
    return d.fill_diagonal_(torch.inf).argmin(1)


def by_differences(x, rows):
    found = []
    for block in torch.arange(len(x)).split(rows):
        d = (x[block, None] - x).square().sum(2)
        d[torch.arange(len(block)), block] = torch.inf
        found.append(d.argmin(1))
    return torch.cat(found)


def wrong_diagonal(x, rows):
    found = [
        torch.cdist(part, x).fill_diagonal_(torch.inf).argmin(1)
        for part in x.split(rows)
    ]
    return torch.cat(found)


WRONG = {
    "1a": ["10 to 50 %", "over 50 %"],
    "1b": [(1.0, 1.0, 1.0), (1 / 6, 2 / 3, 0.5), (1 / 6, 2 / 3)],
    "1c": [drops_the_first_column, counts_itself],
    "2a": ["triplet", "global"],
    "2b": [1.1, 0.71, 0.86],
    "2c": [
        ([0.1, 0.2], [0.6, 0.7], [1.0, 1.2]),
        ([0.9, 0.8], [0.8, 0.7], [1.3, 1.8]),
        ([0.9], [0.8], [1.3]),
    ],
    "2d": [unbiased, hinge_by_hinge],
    "3a": ["above zero, for the margins always cost something"],
    "3b": [2048 * 1024, 2048 * 1024 + 1024 * 22 + 1024 * 98],
    "3c": [without_r, any_p_minus],
    "3.1a": ["doubles", "stays"],
    "3.1b": [9.18, 4.6],
    "3.1c": [naive_softmax, weights_by_the_text],
    "3.2a": ["grows without limit", "stays the same"],
    "3.2b": [2.0, 0.7, 3.0],
    "3.2c": [1.5, 0.9],
    "3.2d": [derived_margin, unguarded],
    "3.3a": ["both", "Method 2's"],
    "3.3b": ["both", "neither"],
    "3.3c": [
        ((1, 5, 6), (1, 5, 6)),
        ((3, 5, 6), (2, 5, 6)),
        ((3, 4, 6), (1, 4, 6)),
        ((3, 5, 7), (1, 5, 7)),
    ],
    "3.3d": [nearest_inside, hardest, on_the_sphere],
    "4a": [50, 1.0],
    "4b": [0.0, 0.1],
    "4c": [by_the_normal, by_the_mean],
    "4.1a": ["the joint loss", "none of them"],
    "4.1b": [0.0, 1.0, 40],
    "4.1c": [of_the_means, empties_what_it_is_given],
    "5a": ["nothing", "about 0.2 points"],
    "5b": [11, 13, 5],
    "5c": [seeds_by_the_normal],
    "speed-a": ["hardly any"],
    "speed-b": [22, 98],
    "speed-c": [14.4, 26.8],
    "speed-d": [all_at_once, by_differences, wrong_diagonal],
}


def test_every_exercise_has_a_typical_slip():
    assert set(WRONG) == set(WRITTEN)


def test_a_typical_slip_is_refused_in_a_sentence(capsys):
    for name, answers in WRONG.items():
        for answer in answers:
            check(name, answer)
            out = capsys.readouterr().out
            refusal = rf"Exercise {re.escape(name)}: not yet: .{{8,}}[.?]\n"
            assert re.fullmatch(refusal, out), answer


# --- the machinery ---------------------------------------------------------------


def test_an_answer_that_was_not_given(capsys):
    def stub(a, b): ...

    def documented(a, b):
        """Says what it will do."""

    for answer in (None, ..., stub, documented, (1, ...), [None, 2], ((...,), 1)):
        check("2d", answer)
    assert set(capsys.readouterr().out.splitlines()) == {
        "Exercise 2d: not answered yet."
    }
    check("2d", lambda *distances: print(end=""))
    assert "returns nothing; where is its return?" in capsys.readouterr().out


def test_an_unknown_exercise_is_named():
    with pytest.raises(ValueError, match=r"no exercise '2z'; there are 1a, "):
        check("2z", 1)
    with pytest.raises(ValueError, match="two exercises are called 2d"):
        exercises.exercise("2d", "Build", "Again")
    for name, level in (("2", "Build"), ("2d", "build")):
        with pytest.raises(ValueError, match="expected '3.1b', 'Build'"):
            exercises.exercise(name, level, "Title")


def test_numbers_say_the_direction_and_known_slips_their_name():
    near(2.02, 2.0, 0.05)
    near(torch.tensor([2.0]), 2.0, 0.05)
    with pytest.raises(Slip, match="expected a number, not a ndarray"):
        near(np.array([2.0, 2.0]), 2.0, 0.05)
    with pytest.raises(Slip, match="1.5 is too low"):
        near(1.5, 2.0, 0.05)
    with pytest.raises(Slip, match="3 is too high"):
        near(3, 2.0, 0.05, {4.0: "squared"})
    with pytest.raises(Slip, match="2,097,152 is too high"):
        near(2_097_152, 2.0, 0.05)
    with pytest.raises(Slip, match="squared"):
        near(4.01, 2.0, 0.05, {4.0: "squared"})
    with pytest.raises(Slip, match="not the text '2'"):
        near("2", 2.0, 0.05)


def test_choices_are_the_offered_ones():
    choose("  one   way ", ("one way", "another"), "one way", "think")
    with pytest.raises(Slip, match="'One' is no choice; choose one of 'one', 'two'"):
        choose("One", ("one", "two"), "one", "think")
    with pytest.raises(Slip, match="^think$"):
        choose("two", ("one", "two"), "one", "think")


def test_functions_are_held_against_another():
    cases = [("ones", (torch.ones(3),)), ("zeros", (torch.zeros(3),))]
    assert hold(lambda x: x + 1, cases, lambda x: x + 1.00001) == 2
    with pytest.raises(Slip, match=r"for zeros entry 0 is 0; expected 1"):
        hold(lambda x: 2 * x, cases, lambda x: x + 1)
    with pytest.raises(Slip, match=r"for ones the answer has shape \(3,\); expected"):
        hold(lambda x: x, cases, lambda x: x.sum())
    with pytest.raises(Slip, match="for ones entry 0 is nan; expected 1"):
        hold(lambda x: x * float("nan"), cases, lambda x: x)
    with pytest.raises(Slip, match="for ones the function raised KeyError: 'q'"):
        hold(lambda x: {}["q"], cases, lambda x: x)
    with pytest.raises(Slip, match="for ones the answer is True; expected False"):
        hold(lambda x: True, cases, lambda x: False)
    # NaN and infinity are answers like any other, and arguments stay as they are.
    strange = torch.tensor([float("nan"), float("inf"), -float("inf")])
    assert hold(lambda x: x.mul_(1), [("s", (strange,))], lambda x: x) == 1
    ones = cases[0][1][0]
    hold(lambda x: x.zero_(), cases, lambda x: 0 * x)
    assert ones.eq(1).all()
