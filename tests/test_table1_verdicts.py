"""What the runs say of two rows, held against slow twins and scipy."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from qsel.methods import TITLES
from qsel.table1_verdicts import (
    COMPARISONS,
    RIVALS,
    Comparison,
    ahead,
    compare,
    on_the_control,
    over_drawn_classes,
    paired,
    sentence,
    verdict,
)

RUNS = {
    "method1": [48.1, 49.3, 47.2, 48.8, 50.0],
    "method2": [49.0, 50.1, 48.9, 49.9, 50.3],
    "random": [40.2, 39.5, 41.0, 40.4, 39.9],
}
PAIR = ("method1", "method2")


def frame(**methods) -> pd.DataFrame:
    """Runs with R@1 as given, one seed after another, without counts by class."""
    return pd.DataFrame(
        [
            {"method": method, "seed": seed, "R@1": value}
            for method, values in methods.items()
            for seed, value in enumerate(values)
        ]
    )


def counted(images: list[int], **hits: list[list[int]]) -> pd.DataFrame:
    """Runs with hits of each class as given, one list a seed."""
    return pd.DataFrame(
        [
            {
                "method": method,
                "seed": seed,
                "R@1": 100 * sum(of_seed) / sum(images),
                "NMI": float(seed),
                "by_class": {"images": images, "R@1": list(of_seed)},
            }
            for method, seeds in hits.items()
            for seed, of_seed in enumerate(seeds)
        ]
    )


@st.composite
def counted_runs(draw):
    """Two rows of 2 to 4 seeds on 1 to 6 classes."""
    images = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    hits = st.tuples(*(st.integers(0, n) for n in images)).map(list)
    seeds = draw(st.integers(2, 4))
    rows = {m: draw(st.lists(hits, min_size=seeds, max_size=seeds)) for m in PAIR}
    return counted(images, **rows)


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


def test_nmi_is_not_counted_by_class():
    runs = counted([4, 4], method1=[[1, 1], [2, 1]], method2=[[3, 3], [4, 3]])
    found = compare(
        runs[runs.method == "method1"], runs[runs.method == "method2"], "NMI"
    )
    assert found.over_classes is None
    assert "classes were not drawn anew" in verdict(runs, *PAIR, metric="NMI")


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


def test_the_verdict_follows_the_t_test():
    random = np.random.default_rng(1)
    for _ in range(50):
        a = random.normal(50, 1, 4)
        b = random.normal(50 + random.normal(0, 1.5), 1, 4)
        said = verdict(frame(method1=a, method2=b), *PAIR)
        found = stats.ttest_rel(a, b)
        assert ("is ahead of" in said) == (found.pvalue < 0.05)
        assert ("cannot be told apart" in said) == (found.pvalue >= 0.05)
        if found.pvalue < 0.05:
            first = TITLES["method1" if a.mean() > b.mean() else "method2"]
            assert said.startswith(first)


@given(counted_runs())
def test_swapping_the_rows_flips_every_sign_and_keeps_the_sentence(runs):
    a, b = (runs[runs.method == method] for method in PAIR)
    one, other = compare(a, b), compare(b, a)
    assert other.gaps == pytest.approx([-gap for gap in one.gaps])
    for there, back in (
        (one.over_seeds, other.over_seeds),
        (one.over_classes, other.over_classes),
    ):
        assert back == pytest.approx((-there[1], -there[0]), abs=1e-9)
    assert one.clear == other.clear
    assert not (one.ahead and other.ahead)
    said, back = verdict(runs, *PAIR), verdict(runs, *PAIR[::-1])
    if one.difference and "told apart" not in said:
        assert said == back


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
    assert found.over_seeds == pytest.approx((points, points))
    assert found.over_classes == pytest.approx((points, points))
    assert ahead(both, "method2", "method1") and not ahead(both, *PAIR)
    assert "standard deviations" not in verdict(both, *PAIR)


@given(counted_runs())
def test_the_sentence_claims_what_the_intervals_show(runs):
    found = compare(*(runs[runs.method == method] for method in PAIR))
    said = verdict(runs, *PAIR)
    beyond = [
        low > 1e-9 or high < -1e-9
        for low, high in (found.over_seeds, found.over_classes)
    ]
    assume(all(abs(b) > 1e-9 for b in (*found.over_seeds, *found.over_classes)))
    assume(abs(found.difference) > 1e-9)
    # A bootstrap's interval may leave out zero on the side away from the mean.
    same_side = found.over_classes[0] * found.difference > 0 or not beyond[1]
    assume(same_side)
    assert ("is ahead of" in said) == all(beyond)
    assert ("cannot be told apart" in said) == (not any(beyond))
    assert ("clear over seeds, not over classes" in said) == (beyond == [True, False])
    assert ("clear over classes, not over seeds" in said) == (beyond == [False, True])
    assert f"{abs(found.difference):.2f} points" in said
    assert f"over {len(found.gaps)} seeds" in said
    assert f"over {found.classes} class" in said


def test_only_one_interval_is_not_enough():
    """Ten classes gain a little in every seed, or one class gains all of it."""
    few = counted([50] * 10, method1=[[20] * 10] * 3, method2=[[30] + [20] * 9] * 3)
    said = verdict(few, *PAIR)
    assert "clear over seeds, not over classes" in said and "ahead" not in said
    assert said.startswith(TITLES["method2"]) and not ahead(few, "method2", "method1")
    wild = [
        [[20 + shift] * 10 for shift in shifts] for shifts in ((0, 0, 0), (1, 9, 1))
    ]
    said = verdict(counted([50] * 10, method1=wild[0], method2=wild[1]), *PAIR)
    assert "clear over classes, not over seeds" in said and "ahead" not in said


def test_an_interval_on_the_wrong_side_is_no_support():
    found = Comparison((1.0, 1.1), 1.05, 15.0, (0.4, 1.7), (-2.0, -1.0), 4)
    assert found.clear == {"seeds": True, "classes": False} and not found.ahead


def test_no_difference_cannot_be_told():
    same = [[1, 2], [2, 2]]
    said = verdict(counted([4, 4], method1=same, method2=same), *PAIR)
    assert "cannot be told apart" in said and "0.00 points" in said


@pytest.mark.parametrize(
    ("runs", "common"),
    [
        (frame(method1=[1.0], method2=[2.0]), "1 common seed,"),
        (counted([4], method1=[[1]], method2=[[4]]), "1 common seed,"),
        (frame(method1=[1.0, 2.0]), "no common seeds,"),
        (frame(random=[1.0, 2.0]), "no common seeds,"),
        (pd.DataFrame(), "no common seeds,"),
    ],
)
def test_too_few(runs, common):
    said = verdict(runs, *PAIR)
    assert f"{common} too few to tell" in said
    assert not ahead(runs, *PAIR) and not ahead(runs, *PAIR[::-1])


@pytest.mark.parametrize(
    ("control", "method1", "method2", "said"),
    [
        (0, 0, 0, "nor the control of Random"),
        (5, 5, 5, "the rules for the positives add nothing"),
        (5, 5, 0, "the rules for the positives add nothing"),
        (5, 9, 5, "Proposed Method 1 is ahead of the control"),
        (5, 5, 9, "Proposed Method 2 is ahead of the control"),
        (5, 9, 9, "Proposed Method 1 and Proposed Method 2 are ahead of the control"),
        (0, 9, 9, "Proposed Method 1 and Proposed Method 2 are ahead of the control"),
    ],
)
def test_what_the_control_says(control, method1, method2, said):
    gains = dict(random=0, hardest_negative=control, method1=method1, method2=method2)
    hits = {m: [[20 + gain] * 10] * 3 for m, gain in gains.items()}
    assert said in on_the_control(counted([50] * 10, **hits))


def test_with_one_setting_for_all_no_gain_is_laid_to_settings():
    hits = dict(random=0, hardest_negative=5, method1=5, method2=9)
    runs = counted([50] * 10, **{m: [[20 + h] * 10] * 3 for m, h in hits.items()})
    assert "or the settings that it won with, adds to it" in on_the_control(runs)
    assert "the rule for the positives adds to it" in on_the_control(runs, alike=True)


def test_without_the_control_nothing_is_said_of_it():
    hits = {m: [[20] * 3] * 3 for m in ("random", "method1", "method2")}
    assert "not run often enough" in on_the_control(counted([50] * 3, **hits))
    hits["hardest_negative"] = [[20] * 3]
    assert "not run often enough" in on_the_control(counted([50] * 3, **hits))


def test_another_metric():
    runs = frame(method1=[1.0, 2.0, 3.0], method2=[2.0, 3.0, 4.1])
    runs["NMI"] = -runs["R@1"]
    said = verdict(runs, *PAIR, metric="NMI")
    assert said.startswith(TITLES["method1"]) and "in NMI" in said


def test_the_numbers_of_the_sentence_are_of_the_one_in_front():
    found = Comparison((-1.0, -2.0), -1.5, -2.1, (-1.9, -1.1), (-2.0, -1.0), 9)
    said = sentence(found, "A", "B")
    assert said.startswith("B is ahead of A in R@1 by 1.50 points, 2.1 standard")
    assert "over 2 seeds 1.10 to 1.90, over 9 classes 1.00 to 2.00" in said
