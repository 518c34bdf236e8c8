import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from made_up_runs import PAIR, counted, frame
from scipy import stats

from qsel.book.verdicts import against_recorded, answers, words
from qsel.experiments.comparison import (
    Comparison,
    ahead,
    compare,
    judge,
)


@st.composite
def counted_runs(draw):
    """Two rows of 2 to 4 seeds on 1 to 6 classes."""
    images = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    hits = st.tuples(*(st.integers(0, n) for n in images)).map(list)
    seeds = draw(st.integers(2, 4))
    rows = {m: draw(st.lists(hits, min_size=seeds, max_size=seeds)) for m in PAIR}
    return counted(images, **rows)


def test_nmi_is_not_counted_by_class():
    runs = counted([4, 4], method1=[[1, 1], [2, 1]], method2=[[3, 3], [4, 3]])
    found = compare(
        runs[runs.method == "method1"], runs[runs.method == "method2"], "NMI"
    )
    assert found.classes == 0


def test_without_counts_the_verdict_follows_the_t_test():
    random = np.random.default_rng(1)
    for _ in range(50):
        a = random.normal(50, 1, 4)
        b = random.normal(50 + random.normal(0, 1.5), 1, 4)
        said = words(judge(frame(method1=a, method2=b), *PAIR))
        found = stats.ttest_rel(a, b)
        assert said.endswith(", not clear") == (found.pvalue >= 0.05)
        assert said.startswith("−") == (round(a.mean() - b.mean(), 1) < 0)


@given(counted_runs())
def test_swapping_the_rows_flips_every_sign(runs):
    a, b = (runs[runs.method == method] for method in PAIR)
    one, other = compare(a, b), compare(b, a)
    assert other.gaps == pytest.approx([-gap for gap in one.gaps])
    assert other.interval == pytest.approx([-bound for bound in one.interval[::-1]])
    assert (one.p, one.ahead, one.behind) == (other.p, other.behind, other.ahead)
    assert not (one.ahead and other.ahead)


@given(counted_runs(), st.integers(1, 5))
def test_the_same_gain_in_every_class_and_seed_is_certain(runs, gain):
    row = runs[runs.method == "method1"]
    images = row.by_class.iloc[0]["images"]
    assume(len(set(images)) == 1)
    better = [[h + gain for h in counts["R@1"]] for counts in row.by_class]
    plain = [counts["R@1"] for counts in row.by_class]
    both = counted(images, method1=plain, method2=better)
    points = 100 * gain / images[0]
    found = compare(both[both.method == "method2"], row)
    assert found.difference == pytest.approx(points) and found.effect is None
    assert found.interval == pytest.approx((points, points))
    assert ahead(both, "method2", "method1") and not ahead(both, *PAIR)


def test_the_words_say_what_the_interval_shows():
    found = Comparison((-1.0, 2.0), 0.5, 0.2, (-0.001, 1.2), 0.0004, 0.0004, 1)
    assert words(found) == "+0.5 (0.0 to 1.2), clear"


def test_one_class_or_one_seed_is_not_enough():
    """One class brings all the gain in every seed, or one seed in every class."""
    few = counted([50] * 10, method1=[[20] * 10] * 3, method2=[[30] + [20] * 9] * 3)
    wild = [
        [[20 + shift] * 10 for shift in shifts] for shifts in ((0, 0, 0), (1, 9, 1))
    ]
    for runs in (few, counted([50] * 10, method1=wild[0], method2=wild[1])):
        assert not ahead(runs, "method2", "method1")


def test_holms_correction_takes_back_what_one_test_alone_would_claim():
    gains = dict(random=0, hardest_negative=0, method1=0, method2=1.3)
    random = np.random.default_rng(0)
    runs = frame(**{m: random.normal(50 + g, 0.8, 5) for m, g in gains.items()})
    found = compare(*(runs[runs.method == method] for method in PAIR))
    assert found.p < 0.05 and found.interval[1] < 0
    assert words(judge(runs, *PAIR)).endswith("not clear")


@pytest.mark.parametrize(
    ("runs", "common"),
    [
        (frame(method1=[1.0], method2=[2.0]), 1),
        (counted([4], method1=[[1]], method2=[[4]]), 1),
        (frame(method1=[1.0, 2.0]), 0),
        (pd.DataFrame(), 0),
    ],
)
def test_too_few(runs, common):
    found = judge(runs, *PAIR)
    assert len(found.gaps) == common
    assert words(found) == "too few runs to tell"
    assert not ahead(runs, *PAIR) and not ahead(runs, *PAIR[::-1])


# --- this machine against the records -------------------------------------------------


def runs_of(**rows):
    return pd.DataFrame(
        [
            {"method": method, "seed": seed, "R@1": value}
            for method, values in rows.items()
            for seed, value in enumerate(values)
        ]
    )


def test_a_machine_that_differs_from_the_records_is_told_where():
    recorded = runs_of(random=[40.0, 41, 42], method1=[50.0, 50, 50], method2=[3.0])
    here = runs_of(random=[43.5, 44.5], method1=[50.0], method2=[90.0])
    said = against_recorded(here, recorded)
    assert "Random Quadruplet Selection by +3.50 points" in said
    assert "Method 1" not in said and "Method 2" not in said  # equal; one record alone
    here = runs_of(random=[40.9, 41.9], method1=[49.5])
    said = against_recorded(here, recorded)
    assert "Proposed Method 1 by -0.50 points" in said and "Random" not in said


@pytest.mark.parametrize("here", [runs_of(random=[40.5, 41.5]), pd.DataFrame()])
def test_a_machine_that_agrees_is_told_so(here):
    recorded = runs_of(random=[40.0, 41, 42])
    assert "agree with the recorded ones" in against_recorded(here, recorded)


# --- the five answers -----------------------------------------------------------------


def equally(**gains):
    """Three seeds that agree: each class of each row has so many hits more."""
    return counted([50] * 20, **{m: [[20 + g] * 20] * 3 for m, g in gains.items()})


ROWS = dict(random=0, hardest_negative=2, method1=2, method2=2)
WITH = ROWS | dict(classification=2, proxy_anchor=4, multi_similarity=1, fine_only=1)
WITH |= dict(hard_sibling=2, easy_positive=1)


@pytest.mark.parametrize(
    ("letter", "change", "before", "after"),
    [
        ("a", dict.fromkeys(ROWS, 0), "Selection beats", "No selection"),
        ("a", dict.fromkeys(ROWS, 1) | {"random": 2}, "Selection beats", "does not"),
        ("b", dict(method2=3), "nothing measurable", "Method 2 gains 2.0 points"),
        ("b", dict(method1=1), "nothing measurable", "Method 1 loses 2.0 points"),
        ("c", dict(classification=0), "nothing measurable", "adds to classification"),
        ("c", dict(classification=4), "nothing measurable", "does worse than"),
        ("d", dict(fine_only=2), "The coarse level helps", "no measurable difference"),
        ("d", dict(fine_only=3), "The coarse level helps", "The coarse level hurts"),
        ("e", dict(proxy_anchor=2), "Proxy-Anchor (48.0) gains", "No present-day loss"),
        ("e", dict(proxy_anchor=0), "goes further than Method 2 (44.0)", "No present"),
        ("f", dict(hard_sibling=3), "and some cost", "the nearest P⁻ gains 2.0 points"),
    ],
)
def test_an_answer_follows_its_records(letter, change, before, after):
    assert before in answers(equally(**WITH))[letter]
    said = answers(equally(**WITH | change))[letter]
    assert after in said and before not in said


def test_rows_that_were_not_run_are_not_spoken_of():
    assert set(answers(equally(**ROWS))) == {"a", "b"}
    said = answers(equally(**ROWS, proxy_anchor=4))
    assert "Multi-Similarity" not in said["e"] and "c" not in said
    assert answers(pd.DataFrame()) == {}


def test_what_is_clear_stands_before_what_is_not():
    random = np.random.default_rng(0)
    rows = {m: random.normal(50 + 3 * g, 0.5, 5) for m, g in ROWS.items()}
    rows["method1"] = random.normal(50, 3, 5)
    said = answers(frame(**rows))["a"]
    first, last = said.split("; ")
    assert "Method 2 gains" in first and "random positives gains" in first
    assert last.startswith("Method 1 is ") and last.endswith(", which is not clear.")
