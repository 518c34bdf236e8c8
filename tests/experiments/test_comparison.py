"""What the runs say of two rows, held against slow twins and scipy."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_runs import PAIR, counted, frame
from scipy import stats

from qsel.experiments.comparison import (
    COMPARISONS,
    RIVALS,
    Comparison,
    compare,
    over_drawn_classes,
    paired,
)
from qsel.experiments.rows import TITLES

RUNS = {
    "method1": [48.1, 49.3, 47.2, 48.8, 50.0],
    "method2": [49.0, 50.1, 48.9, 49.9, 50.3],
    "random": [40.2, 39.5, 41.0, 40.4, 39.9],
}


# --- over classes ----------------------------------------------------------------


def slow_bootstrap(differences, images, draws, seed):
    """Class by class, draw by draw."""
    random, gaps = np.random.default_rng(seed), []
    for _ in range(draws):
        hits = total = 0
        for c in random.integers(len(images), size=len(images)):
            hits += differences[c]
            total += images[c]
        gaps.append(100 * hits / total)
    return gaps


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(-1, 1)), min_size=1, max_size=12),
    st.integers(1, 60),
    st.integers(0, 5),
)
def test_the_bootstrap_is_its_slow_twin(classes, draws, seed):
    images = np.array([n for n, _ in classes])
    differences = np.array([share * n for n, share in classes])
    gaps = sorted(slow_bootstrap(differences, images, draws, seed))
    found = over_drawn_classes(differences, images, draws, seed)
    for bound, share in zip(found, (0.025, 0.975), strict=True):
        at = share * (draws - 1)  # between two gaps in order
        below, above = gaps[math.floor(at)], gaps[math.ceil(at)]
        expected = below + (at - math.floor(at)) * (above - below)
        assert bound == pytest.approx(expected, abs=1e-9)


def test_the_interval_is_that_of_a_normal_distribution_for_many_classes():
    random = np.random.default_rng(0)
    differences, images = random.normal(2, 5, 500), np.full(500, 40)
    low, high = over_drawn_classes(differences, images)
    half = 1.96 * (100 * differences / 40).std() / 500**0.5
    mean = 100 * differences.sum() / images.sum()
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.1 * half)


def test_the_interval_is_repeatable_and_changes_with_the_seed():
    differences, images = np.array([3, -1, 4, -2]), np.array([9, 9, 9, 9])
    assert over_drawn_classes(differences, images) == over_drawn_classes(
        differences, images
    )
    first = over_drawn_classes(differences, images, 50, seed=0)
    assert first != over_drawn_classes(differences, images, 50, seed=1)


def test_hits_are_averaged_over_the_common_seeds_only():
    runs = counted([10, 10], method1=[[5, 5], [5, 7]], method2=[[6, 5], [8, 7], [0, 0]])
    found = compare(runs[runs.method == "method2"], runs[runs.method == "method1"])
    assert found.gaps == pytest.approx((5, 15))
    assert found.over_classes == over_drawn_classes(np.array([2.0, 0]), np.full(2, 10))
    assert found.classes == 2


def test_runs_on_other_classes_do_not_compare():
    one, other = counted([4, 4], method1=[[1, 1]]), counted([4, 5], method2=[[1, 1]])
    with pytest.raises(ValueError, match="different classes"):
        compare(one, other)


# --- over seeds ------------------------------------------------------------------


def test_paired_goes_seed_by_seed():
    runs = frame(**RUNS).sample(frac=1, random_state=0)
    gaps = paired(runs, "method2", "method1")
    expected = np.subtract(RUNS["method2"], RUNS["method1"])
    assert gaps.tolist() == pytest.approx(expected.tolist())


def test_paired_leaves_out_seeds_that_one_row_lacks():
    runs = frame(method1=[1.0, 2.0, 3.0], method2=[5.0])
    assert paired(runs, "method2", "method1").tolist() == [4.0]


@pytest.mark.parametrize(
    "runs", [frame(method1=[1.0, 2.0]), frame(random=[1.0]), pd.DataFrame()]
)
def test_paired_without_one_of_the_rows_is_empty(runs):
    assert len(paired(runs, *PAIR)) == 0


@pytest.mark.parametrize("pair", [("method2", "random"), ("method2", "method1")])
def test_the_interval_over_seeds_is_scipys(pair):
    one, other = (frame(**{m: RUNS[m]}) for m in pair)
    found = compare(one, other)
    test = stats.ttest_rel(*(RUNS[m] for m in pair))
    assert found.over_seeds == pytest.approx(tuple(test.confidence_interval(0.95)))
    gaps = np.subtract(*(RUNS[m] for m in pair))
    assert found.effect == pytest.approx(gaps.mean() / gaps.std(ddof=1))


# --- the verdict -----------------------------------------------------------------


def test_compared_rows_exist():
    assert {method for pair in (*COMPARISONS, *RIVALS) for method in pair} <= set(
        TITLES
    )


def test_an_interval_on_the_wrong_side_is_no_support():
    found = Comparison((1.0, 1.1), 1.05, 15.0, (0.4, 1.7), (-2.0, -1.0), 4)
    assert found.clear == {"seeds": True, "classes": False} and not found.ahead
