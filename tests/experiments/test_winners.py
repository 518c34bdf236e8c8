"""What won in a search: each row's own best, the quadruplet rows' common one, edges."""

import pytest

from qsel.experiments.rows import QUADRUPLETS
from qsel.experiments.winners import at_edge, shared, winners


def run(method, trial, *reached, **settings):
    settings = settings or {"dropout": trial / 10}
    found = {"method": method, "trial": trial, "settings": settings}
    best = max(reached)
    found |= {"R@1": list(reached), "score": best}
    return found | {"best epoch": reached.index(best) + 1}


def test_each_row_wins_with_its_best_epoch():
    runs = [run("random", 0, 0.5, 0.6, 0.4), run("random", 1, 0.7, 0.1, 0.7)]
    runs += [run("random", 2, 0.7), run("semi_hard", 0, 0.1, 0.2)]
    assert winners(runs) == {
        "random": {"dropout": 0.1, "last_epoch": 1},  # the first of equals
        "semi_hard": {"dropout": 0.0, "last_epoch": 2},
    }
    assert winners([]) == {}


def test_a_trial_that_failed_wins_nothing_however_far_it_came():
    failed = {"method": "random", "trial": 0, "settings": {}, "R@1": [0.9]}
    failed |= {"failed": "the loss became inf", "score": 0.0}
    assert winners([failed]) == {}
    assert winners([failed, run("random", 1, 0.1)])["random"]["dropout"] == 0.1
    others = [run(method, 0, 0.5) for method in QUADRUPLETS if method != "random"]
    assert shared([failed, *others]) == {}


def test_the_common_setting_has_the_best_mean_of_four_at_one_epoch():
    runs = [run(method, 0, 0.5, 0.6, 0.5) for method in QUADRUPLETS]
    # Each row alone reaches more here, but at different epochs.
    runs += [
        run(m, 1, *((0.9, 0.1, 0.1), (0.1, 0.1, 0.9))[i % 2])
        for i, m in enumerate(QUADRUPLETS)
    ]
    assert {w["dropout"] for w in winners(runs).values()} == {0.1}
    assert shared(runs) == {"dropout": 0.0, "last_epoch": 2}
    runs += [run(method, 2, 1.0) for method in QUADRUPLETS[:3]]  # interrupted
    runs += [run("semi_hard", 2, 1.0)]
    assert shared(runs) == {"dropout": 0.0, "last_epoch": 2}


@pytest.mark.parametrize(
    ("name", "ends", "value", "end"),
    [
        ("learning_rate", (0.001, 1), 0.0019, "smallest"),  # a tenth of three decades
        ("learning_rate", (0.001, 1), 0.0021, None),
        ("learning_rate", (0.001, 1), 0.51, "largest"),
        ("dropout", (0, 0.8), 0.0, None),  # there is nothing below
        ("dropout", (0, 0.8), 0.73, "largest"),
        ("whiten", (0, 1), 1.0, None),  # nor above
        ("margin", (0.1, 10), None, None),
    ],
)
def test_what_lies_at_an_edge_that_can_be_moved(name, ends, value, end):
    found = at_edge({"random": {name: value}}, {"random": {name: ends}})
    assert found == ({"random": {name: end}} if end else {})


def test_the_last_epoch_and_rows_without_ranges_have_no_edge():
    assert at_edge({"random": {"last_epoch": 2}, "start": {"margin": 1}}, {}) == {}
