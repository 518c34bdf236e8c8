"""Recall@K, MAP@R and NMI against loops written from their definitions."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from blocks import DTYPES
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from qsel import map_at_r, nmi, recall_at_k
from qsel.experiments.network import hits_by_class
from qsel.metrics import retrieval

# The slow twins.


def slow_ranking(points):
    """The others of every sample, nearest first, ties by index."""
    x = points.double().tolist()

    def squared(i, j):
        return sum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True))

    return [
        sorted((j for j in range(len(x)) if j != i), key=lambda j: (squared(i, j), j))
        for i in range(len(x))
    ]


def slow_recall(points, labels, k):
    labels = labels.tolist()
    hits = [
        any(labels[j] == labels[i] for j in others[:k])
        for i, others in enumerate(slow_ranking(points))
    ]
    return sum(hits) / len(hits)


def slow_map_at_r(points, labels):
    labels = labels.tolist()
    scores = []
    for i, others in enumerate(slow_ranking(points)):
        r = labels.count(labels[i]) - 1
        if r == 0:
            continue
        right, total = 0, 0.0
        for place, j in enumerate(others[:r], start=1):
            if labels[j] == labels[i]:
                right += 1
                total += right / place
        scores.append(total / r)
    return sum(scores) / len(scores)


def slow_nmi(labels, clusters):
    """2 I / (H + H) from the contingency table."""
    n = len(labels)
    table = Counter(zip(labels, clusters, strict=True))
    a, b = Counter(labels), Counter(clusters)
    information = sum(
        c / n * math.log(c * n / (a[x] * b[y])) for (x, y), c in table.items()
    )
    entropies = [-sum(c / n * math.log(c / n) for c in x.values()) for x in (a, b)]
    return 2 * information / sum(entropies)


@st.composite
def cases(draw):
    n, dim = draw(st.integers(2, 12)), draw(st.integers(1, 3))
    values = st.lists(st.integers(-2, 2), min_size=dim, max_size=dim)
    points = draw(st.lists(values, min_size=n, max_size=n))
    label = st.sampled_from([-7, 0, 3, 10**9])
    labels = draw(st.lists(label, min_size=n, max_size=n))
    return torch.tensor(points).to(draw(st.sampled_from(DTYPES))), torch.tensor(labels)


@given(cases())
def test_recall_and_map_at_r_are_those_of_a_loop(case):
    points, labels = case
    ks = tuple(range(1, len(points)))
    found = recall_at_k(points, labels, ks)
    assert tuple(found) == ks
    for k in ks:
        assert found[k] == pytest.approx(slow_recall(points, labels, k), abs=1e-12)
    if labels.unique().numel() == len(labels):
        with pytest.raises(ValueError, match="alone in their class"):
            map_at_r(points, labels)
        return
    expected = slow_map_at_r(points, labels)
    assert map_at_r(points, labels) == pytest.approx(expected, abs=1e-12)
    # One search gives what each metric gives.
    assert retrieval(points, labels, ks) == {
        **{f"R@{k}": found[k] for k in ks},
        "MAP@R": map_at_r(points, labels),
    }


@given(cases())
def test_hits_by_class_add_up_to_recall(case):
    points, labels = case
    found = hits_by_class(points, labels)
    classes = sorted(set(labels.tolist()))
    nearest = [order[0] for order in slow_ranking(points)]
    for c, images, hits in zip(classes, found["images"], found["R@1"], strict=True):
        members = [i for i, label in enumerate(labels.tolist()) if label == c]
        assert images == len(members)
        assert hits == sum(labels[nearest[i]] == c for i in members)
    total = sum(found["R@1"]) / sum(found["images"])
    assert total == pytest.approx(recall_at_k(points, labels, (1,))[1])


def test_the_query_is_left_out_by_its_index():
    # Identical vectors of two classes, long enough for a product to part them. The
    # nearest other is then the lowest other index, whichever its class.
    x = 100 * torch.randn(1, 512, generator=torch.Generator().manual_seed(0))
    points, labels = x.repeat(4, 1), torch.tensor([0, 1, 0, 1])
    # Nearest others: 1, 0, 0, 0 -> right for sample 2 only.
    assert recall_at_k(points, labels, (1, 2, 3)) == {1: 0.25, 2: 0.75, 3: 1.0}
    assert map_at_r(points, labels) == pytest.approx(0.25)


def clusters_of(points, labels, seed):
    k_means = KMeans(len(labels.unique()), n_init=1, random_state=seed)
    return k_means.fit_predict(points.detach().float().numpy()).tolist()


def blobs(seed, n=60, classes=6, spread=0.6):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    centres = rng.normal(size=(classes, 4))
    points = centres[labels] + spread * rng.normal(size=(n, 4))
    return torch.as_tensor(points).float(), torch.as_tensor(labels * 37 - 5)


def test_nmi_is_the_formula_on_the_contingency_table():
    found = []
    for seed in range(4):
        points, labels = blobs(seed)
        points = points.half() if seed == 1 else points.requires_grad_()
        expected = slow_nmi(labels.tolist(), clusters_of(points, labels, seed))
        assert 0.1 < expected < 0.99
        found.append(nmi(points, labels, seed))
        assert found[-1] == pytest.approx(expected, abs=1e-9)
        assert found[-1] == nmi(points, labels, seed)
    points, labels = blobs(1, n=120, classes=12, spread=1.0)
    assert len({nmi(points, labels, seed) for seed in range(4)}) > 1
    halves = torch.tensor([[0.0], [0.0], [9.0], [9.0]], dtype=torch.float64) + 1e9
    assert nmi(halves, torch.tensor([0, 0, 1, 1])) == pytest.approx(1)
    assert nmi(halves, torch.tensor([0, 1, 0, 1])) == pytest.approx(0, abs=1e-9)


RANGES = {
    torch.float16: (2.0**-20, 2.0**10),
    torch.bfloat16: (1e-37, 1e37),
    torch.float32: (1e-44, 2.0**-31, 2.0**31, 1e38),
    torch.float64: (5e-320, 1e-25, 1e140),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nmi_does_not_depend_on_the_scale(dtype):
    """Squared, these overflow or vanish in float32 or float64."""
    corners = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    labels = torch.arange(4).repeat(5)
    halves = labels // 2 + 4 * (torch.arange(20) // 10)
    expected = nmi(corners[labels].to(dtype), halves)
    assert 0.1 < expected < 0.9
    for scale in RANGES[dtype]:
        points = (corners[labels].double() * scale).to(dtype)
        assert nmi(points, labels) == pytest.approx(1)
        assert nmi(points, halves) == expected


FOUR, PAIRS = torch.randn(4, 2), torch.tensor([0, 0, 1, 1])
NAN = torch.tensor([[0.0], [1.0], [torch.nan], [0.0]])


@pytest.mark.parametrize("metric", [recall_at_k, map_at_r, nmi])
@pytest.mark.parametrize(
    ("points", "labels", "words"),
    [
        (FOUR, PAIRS[:3], r"\(3,\); expected integers of .*\(4,"),
        (FOUR, PAIRS.float(), "float32"),
        (FOUR, [0, 0, 1, 1], "labels are a list"),
        (NAN, PAIRS, "1 of 4 .*row 2"),
        (torch.zeros(4), PAIRS, r"\(4,\); expected floating"),
        ([[0.0]] * 4, PAIRS, "list; expected a torch tensor"),
    ],
)
def test_what_cannot_be_measured(metric, points, labels, words):
    with pytest.raises(ValueError, match=words):
        metric(points, labels)


@pytest.mark.parametrize(
    ("ks", "words"),
    [
        ((1, 4), "k=4 .*4 samples.* 1 to 3"),
        ((), r"ks=\(\); expected at least one K"),
        ((0, 1), r"ks=\(0.*expected .*K, from 1"),
    ],
)
def test_k_out_of_range(ks, words):
    with pytest.raises(ValueError, match=words):
        recall_at_k(FOUR, PAIRS, ks)
