"""What the runs say of two rows, held against slow twins and scipy."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_runs import PAIR, counted, frame
from scipy import stats

from qsel.experiments import comparison
from qsel.experiments.comparison import (
    COMPARISONS,
    Comparison,
    compare,
    judge,
    judged,
    of_row,
    over_folds,
    paired,
)

RUNS = {
    "method1": [48.1, 49.3, 47.2, 48.8, 50.0],
    "method2": [49.0, 50.1, 48.9, 49.9, 50.3],
    "random": [40.2, 39.5, 41.0, 40.4, 39.9],
}


def of_pair(runs, metric="R@1"):
    """Method 2 minus Method 1."""
    return compare(*(of_row(runs, m) for m in PAIR[::-1]), metric)


def made_up(random, images, seeds, of_seeds=0.0, of_classes=0.0, noise=0.0):
    """Two rows that differ by chance alone; deviations in percentage points."""
    s, f = seeds, len(images)
    gaps = of_seeds * random.normal(size=(s, 1)) + of_classes * random.normal(size=f)
    gaps = (gaps + noise * random.normal(size=(s, f))) * images / 100
    return counted(images.tolist(), method1=[[0] * f] * s, method2=gaps.tolist())


def test_seeds_that_agree_leave_the_classes_and_the_other_way_round():
    random = np.random.default_rng(0)
    images = np.full(400, 40)
    found = of_pair(runs := made_up(random, images, 3, of_classes=5))
    gaps = 100 * np.array(of_row(runs, "method2").by_class.iloc[0]["R@1"]) / images
    half = 1.96 * gaps.std() / 400**0.5
    expected = gaps.mean() - half, gaps.mean() + half
    assert found.interval == pytest.approx(expected, abs=0.1 * half)
    found = of_pair(made_up(random, images, 3, of_seeds=5))
    test = stats.ttest_1samp(found.gaps, 0)
    assert found.interval == pytest.approx(tuple(test.confidence_interval()), rel=1e-3)
    assert found.classes == 400


def test_the_interval_covers_what_it_says():
    """In a larger simulation 95 of a hundred; from seeds drawn anew, 85."""
    random = np.random.default_rng(0)
    images = random.integers(24, 60, 98)
    held = 0
    for _ in range(20):
        low, high = of_pair(made_up(random, images, 3, 2, 3, 6)).interval
        held += low <= 0 <= high
    assert 18 <= held <= 20


def test_runs_on_other_classes_do_not_compare():
    one, other = counted([4, 4], method1=[[1, 1]]), counted([4, 5], method2=[[1, 1]])
    with pytest.raises(ValueError, match="different classes"):
        compare(one, other)


def test_paired_goes_by_the_seeds_that_both_have():
    runs = frame(**RUNS)[:-6].sample(frac=1, random_state=0)
    gaps = paired(runs, "method2", "method1")
    expected = np.subtract(RUNS["method2"], RUNS["method1"])
    assert gaps.tolist() == pytest.approx(expected[:4].tolist())
    assert len(paired(pd.DataFrame(), *PAIR)) == 0


@pytest.mark.parametrize("pair", [("method2", "random"), ("method2", "method1")])
def test_without_counts_by_class_it_is_the_paired_t_test_of_scipy(pair):
    one, other = (frame(**{m: RUNS[m]}) for m in pair)
    found = compare(one, other)
    test = stats.ttest_rel(*(RUNS[m] for m in pair))
    assert found.interval == pytest.approx(tuple(test.confidence_interval(0.95)), 1e-3)
    assert found.p == pytest.approx(test.pvalue, abs=5e-4) and found.classes == 0
    gaps = np.subtract(*(RUNS[m] for m in pair))
    assert found.effect == pytest.approx(gaps.mean() / gaps.std(ddof=1))


def folds(seeds=(5, 3), sizes=((20,) * 60, (40,) * 30), deviations=(0.5, 4, 6)):
    random = np.random.default_rng(7)
    return [
        made_up(random, np.array(n), s, *deviations)
        for s, n in zip(seeds, sizes, strict=True)
    ]


def test_two_folds_are_weighed_by_their_images_and_narrow_the_interval():
    one, two = folds(sizes=((20,) * 60, (60,) * 40))
    a, b, both = of_pair(one), of_pair(two), of_pair(over_folds(one, two))
    assert both.difference == pytest.approx(
        (1200 * a.difference + 2400 * b.difference) / 3600
    )
    assert both.gaps == (*a.gaps, *b.gaps) and both.classes == 100

    def width(found):
        return np.ptp(found.interval)

    expected = np.hypot(width(a) / 3, 2 * width(b) / 3)
    assert width(both) == pytest.approx(expected, rel=0.1)
    assert width(both) < width(b)


def test_a_fold_without_a_common_seed_is_left_out_and_one_alone_decides_nothing():
    one, two = folds()
    lacks = two[two.method == "method1"]
    assert of_pair(over_folds(one, lacks)) == of_pair(one)
    alone = two[two.seed == 1]
    found = of_pair(over_folds(one, alone))
    assert len(found.gaps) == 6 and found.interval is None and not found.clear


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_step_by_step(values):
    """The smallest times all, the next times all but one; none below the last."""
    found = {i: Comparison((), 1.0, p=p) for i, p in enumerate(values)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "compare", lambda one, *_: found[one])
        patch.setattr(comparison, "of_row", lambda runs, row: row)
        got = judged(None, [(i, i) for i in found])
    left, least = sorted(values), 0.0
    for p in sorted(values):
        least = max(least, min(1.0, p * len(left)))
        left.remove(p)
        same = [got[i, i].adjusted for i in found if found[i].p == p]
        assert any(adjusted == pytest.approx(least) for adjusted in same)


def test_a_pair_is_judged_with_those_that_it_was_stated_with():
    gains = dict(random=0, hardest_negative=0.3, method1=0.7, method2=1.2, semi_hard=0)
    random = np.random.default_rng(0)
    runs = frame(**{m: random.normal(50 + g, 0.3, 5) for m, g in gains.items()})
    every = judged(runs)
    for pair in COMPARISONS:
        assert judge(runs, *pair) == every[pair]
        back = judge(runs, *pair[::-1])
        assert back.adjusted == every[pair].adjusted
        assert (back.ahead, back.behind) == (every[pair].behind, every[pair].ahead)
    assert any(c.p < 0.05 < c.adjusted for c in every.values())  # Holm decides
    rival = judge(runs, "method2", "semi_hard")
    assert rival.adjusted == rival.p  # the only rival that was run
    alone = judge(runs, "random", "semi_hard")
    assert alone.adjusted == alone.p
