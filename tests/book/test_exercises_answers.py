"""Answers of other kinds: right ones are right, and no answer at all raises."""

import math
from decimal import Decimal
from fractions import Fraction

import exercise_cells
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import t as student_t

from qsel.book.exercises import check

WRITTEN = exercise_cells.written()


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QSEL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


# --- right answers of other kinds ------------------------------------------------


def recall_by_loops(x, labels):
    """In plain numbers, and a fraction at the end."""
    points, hits = x.tolist(), 0
    for i, one in enumerate(points):
        others = [j for j in range(len(points)) if j != i]
        nearest = min(others, key=lambda j: math.dist(one, points[j]))
        hits += int(labels[nearest] == labels[i])
    return Fraction(hits, len(points))


def loss_in_numpy(to_pp, to_pn, to_n):
    a, b, c = (d.numpy() for d in (to_pp, to_pn, to_n))
    first = max(0, a.mean() - b.mean() + 0.4)
    return a.var() + b.var() + c.var() + first + max(0, b.mean() - c.mean() + 0.3)


def valid_backwards(fine, coarse, q):
    """An array that runs backwards."""
    r, pp, pn, n = q.flip(1).numpy()
    fine, coarse = fine.numpy(), coarse.numpy()
    of_coarse = (coarse[pn] == coarse[r]) & (fine[pn] != fine[r])
    found = (fine[pp] == fine[r]) & (pp != r) & of_coarse & (coarse[n] != coarse[r])
    return found[::-1]


def divided(to_pp, to_pn, to_n, m1, m2):
    """Divides by zero, and takes only 0 / 0 for zero."""
    ratios = torch.stack([to_pn / (to_pp + m1 - m2), to_n / (to_pn + m2)])
    ratios[ratios.isnan()] = 0
    return (1 - ratios).relu().sum(0).double()


def positive_by_loops(x, fine, r, n):
    def d(i):
        return (x[i] - x[r]).norm()

    own = [i for i in range(len(x)) if fine[i] == fine[r] and i != r]
    outside = [i for i in own if d(i) > d(n)]
    return min(outside, key=d) if outside else max(own, key=d)


def ahead_in_numpy(gaps):
    return len(gaps) > 1 and np.mean(gaps) > student_t.ppf(
        0.975, len(gaps) - 1
    ) * np.std(gaps, ddof=1) / np.sqrt(len(gaps))


def change_in_pandas(switch, base):
    return (pd.Series(switch) - pd.Series(base)).mean()


def seeds_at_once(difference, deviation):
    n = np.arange(2, 1000)
    clear = student_t.ppf(0.975, n - 1) * deviation / np.sqrt(n) < abs(difference)
    return float(n[clear][0])


def nearest_one_by_one(x, rows):
    found = []
    for i, point in enumerate(x):
        d = (x - point).norm(dim=1)
        d[i] = torch.inf
        found.append(int(d.argmin()))
    return found


RIGHT = [
    ("1b", np.array([0.17, 0.67, 0.21])),
    ("1b", torch.tensor([1 / 6, 2 / 3, 5 / 24])),
    ("1c", recall_by_loops),
    ("2b", np.array([0.93])),
    ("2b", Decimal("0.93")),
    ("2b", torch.tensor(0.927, requires_grad=True)),
    ("2c", torch.tensor([[0.9, 0.1], [0.8, 1.2], [1.3, 1.8]])),
    ("2c", ((0, 1), (1, 1), np.array([2, 2]))),
    ("2d", loss_in_numpy),
    ("3c", valid_backwards),
    ("3.2d", divided),
    ("3.3c", np.array([[3, 5, 6], [1, 5, 6]])),
    ("3.3c", (torch.tensor([3, 5, 6]), [1.0, 5.0, 6.0])),
    ("3.3d", positive_by_loops),
    ("4c", ahead_in_numpy),
    ("4.1c", change_in_pandas),
    ("5b", np.int64(14)),
    ("5c", seeds_at_once),
    ("speed-d", nearest_one_by_one),
]


def test_a_right_answer_of_another_kind_is_right(capsys):
    for name, answer in RIGHT:
        check(name, answer)
        said = capsys.readouterr().out
        assert said.startswith(f"Exercise {name}: right. "), answer


# --- anything at all -------------------------------------------------------------


ODD = [
    "",
    "nothing of the kind",
    True,
    [],
    (),
    {},
    object(),
    float("nan"),
    float("inf"),
    1j,
    b"7",
    np.zeros(3),
    torch.zeros(2, 2),
    ([], [], []),
    (("a", "b", "c"),) * 2,
    [[1, 2, 3], 4],
    ("a", "b", "c"),
    ([float("nan")] * 2,) * 3,
    int,
    len,
    lambda: 1,
    lambda *arguments: "text",
    lambda *arguments: "1",
    lambda *arguments: object(),
    lambda *arguments: {},
    lambda *arguments: float("nan"),
    lambda *arguments: 1 / 0,
    lambda *arguments: torch.zeros(7, 7),
]


def test_no_answer_raises(capsys):
    for name in WRITTEN:
        for answer in ODD:
            check(name, answer)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(ODD)
        assert all(line.startswith(f"Exercise {name}: not yet: ") for line in lines)
