"""The other objectives against slow loops written from their papers."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from qsel.experiments import medoids as medoid_search
from qsel.experiments import rivals
from qsel.experiments.medoids import agreement, cluster_assignments, find_medoids
from qsel.experiments.rivals import (
    clustering_loss,
    lifted_structure_loss,
    multi_similarity_loss,
    n_pairs_loss,
    proxy_anchor_loss,
    semi_hard_loss,
    triplet_global_loss,
)

BATCH_LOSSES = [
    *(semi_hard_loss, lifted_structure_loss, clustering_loss, multi_similarity_loss)
]

# The slow twins: float64 scalars, one loop a sum, gradients by autograd.


def slow_distance(a, b):
    return torch.linalg.vector_norm(a - b)  # gradient 0 at 0


def slow_pairs(labels):
    rows = range(len(labels))
    return [(i, j) for i in rows for j in rows if i != j and labels[i] == labels[j]]


def slow_semi_hard(x, labels, margin):
    values = []
    for a, p in slow_pairs(labels):
        d_p = ((x[a] - x[p]) ** 2).sum()
        of_negatives = [
            ((x[a] - x[n]) ** 2).sum() for n in range(len(x)) if labels[n] != labels[a]
        ]
        farther = [d for d in of_negatives if d > d_p]
        if farther:
            d_n = min(farther, key=torch.Tensor.item)  # the first row of a tie
        else:
            d_n = max(reversed(of_negatives), key=torch.Tensor.item)  # the last one
        values.append(torch.relu(d_p - d_n + margin))
    return sum(values) / len(values)


def slow_lifted(x, labels, margin):
    values = []
    for i, j in slow_pairs(labels):
        if i < j:
            inside = sum(
                torch.exp(margin - slow_distance(x[one], x[k]))
                for one in (i, j)
                for k in range(len(x))
                if labels[k] != labels[i]
            )
            value = torch.log(inside) + slow_distance(x[i], x[j])
            values.append(torch.relu(value) ** 2)
    return sum(values) / (2 * len(values))


def slow_n_pairs(x, l2_weight):
    anchors, positives = x[0::2], x[1::2]
    pairs = len(anchors)
    total = 0
    for i in range(pairs):
        own = anchors[i] @ positives[i]
        others = sum(
            torch.exp(anchors[i] @ positives[j] - own) for j in range(pairs) if j != i
        )
        norms = (anchors[i] ** 2).sum() + (positives[i] ** 2).sum()
        total = total + torch.log(1 + others) + l2_weight / 4 * norms
    return total / pairs


def slow_assignments(x, medoids):
    return [
        min(sorted(medoids), key=lambda j: slow_distance(row, x[j]).item()) for row in x
    ]


def slow_nmi(one, other):
    size = len(one)

    def share(condition):
        return sum(condition(a, b) for a, b in zip(one, other, strict=True)) / size

    information = 0
    for a in set(one):
        for b in set(other):
            both = share(lambda i, j, a=a, b=b: i == a and j == b)
            p_a = share(lambda i, j, a=a: i == a)
            p_b = share(lambda i, j, b=b: j == b)
            if both:
                information += both * math.log(both / (p_a * p_b))
    entropies = [
        -sum(y.count(k) / size * math.log(y.count(k) / size) for k in set(y))
        for y in (one, other)
    ]
    if 0 in entropies:
        return 0
    return information / math.sqrt(entropies[0] * entropies[1])


def slow_score(x, labels, medoids, gamma):
    """F(X, S) + γ Δ(g(S), y)."""
    owner = slow_assignments(x, medoids)
    facility = -sum(slow_distance(x[i], x[j]) for i, j in enumerate(owner))
    return facility + gamma * (1 - slow_nmi(owner, labels))


def slow_oracle(x, labels):
    total = 0
    for k in sorted(set(labels)):
        members = [i for i in range(len(x)) if labels[i] == k]
        sums = [-sum(slow_distance(x[i], x[j]) for i in members) for j in members]
        total = total + max(sums, key=torch.Tensor.item)
    return total


def slow_medoids(x, labels, gamma, rounds):
    def score(medoids):
        return slow_score(x, labels, medoids, gamma).item()

    rows = range(len(x))
    chosen = []
    for _ in set(labels):
        free = [c for c in rows if c not in chosen]
        chosen.append(max(free, key=lambda c: score([*chosen, c])))
    for _ in range(rounds):
        for k, medoid in enumerate(list(chosen)):
            owner = slow_assignments(x, chosen)
            swaps = [chosen] + [
                chosen[:k] + [c] + chosen[k + 1 :]
                for c in rows
                if owner[c] == medoid and c not in chosen
            ]
            chosen = max(swaps, key=score)
    return chosen


def slow_triplet_global(a, p, n, m, t, mean_weight, global_weight):
    size = len(a)
    d_p = [slow_distance(a[i], p[i]) for i in range(size)]
    d_n = [slow_distance(a[i], n[i]) for i in range(size)]
    triplet = sum(torch.relu(1 - d_n[i] / (d_p[i] + m)) for i in range(size)) / size
    means, variances = [], []
    for d in (d_p, d_n):
        quarters = [value**2 / 4 for value in d]
        means.append(sum(quarters) / size)
        variances.append(sum((q - means[-1]) ** 2 for q in quarters) / size)
    hinge = torch.relu(means[0] - means[1] + t)
    return triplet + global_weight * (sum(variances) + mean_weight * hinge)


def slow_proxy_anchor(x, labels, proxies, alpha):
    cosine = torch.nn.functional.cosine_similarity
    pulls, pushes = [], []
    for k, proxy in enumerate(proxies):
        own = [cosine(x[i], proxy, 0) for i in range(len(x)) if labels[i] == k]
        other = [cosine(x[i], proxy, 0) for i in range(len(x)) if labels[i] != k]
        if own:
            inside = sum(torch.exp(-alpha * (s - 0.1)) for s in own)
            pulls.append(torch.log(1 + inside))
        inside = sum(torch.exp(alpha * (s + 0.1)) for s in other)
        pushes.append(torch.log(1 + inside))
    return sum(pulls) / len(pulls) + sum(pushes) / len(proxies)


def slow_multi_similarity(x, labels, beta):
    total, rows = 0 * x.sum(), range(len(x))
    for i in rows:
        s = [torch.nn.functional.cosine_similarity(x[i], x[j], 0) for j in rows]
        own = [s[j] for j in rows if j != i and labels[j] == labels[i]]
        other = [s[j] for j in rows if labels[j] != labels[i]]
        if not own:  # nothing to mine against
            continue
        pull = [p for p in own if p - 0.1 < max(other)]
        push = [n for n in other if n + 0.1 > min(own)]
        if pull:
            inside = sum(torch.exp(-2 * (p - 0.5)) for p in pull)
            total = total + torch.log(1 + inside) / 2
        if push:
            inside = sum(torch.exp(beta * (n - 0.5)) for n in push)
            total = total + torch.log(1 + inside) / beta
    return total / len(x)


def value_and_gradient(function, *inputs):
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    value = function(*leaves)
    value.backward()
    return value.detach(), torch.cat([x.grad.double() for x in leaves])


def assert_same(fast, slow, *inputs, atol=1e-9):
    """Values and gradients: float64 as given, float32 and float16 as rounded."""
    for dtype in (torch.float64, torch.float32, torch.float16):
        rounded = [x.to(dtype) for x in inputs]
        value, gradient = value_and_gradient(fast, *rounded)
        assert value.dtype == (dtype if dtype == torch.float64 else torch.float32)
        expected = value_and_gradient(slow, *(x.double() for x in rounded))
        tolerance = {torch.float64: atol, torch.float32: 1e-4, torch.float16: 5e-3}
        for ours, theirs in zip((value.double(), gradient), expected, strict=True):
            torch.testing.assert_close(
                ours, theirs, rtol=tolerance[dtype], atol=tolerance[dtype]
            )


@st.composite
def batches(draw, most=9):
    """Halves of small integers: ties and duplicates, and distances without rounding."""
    labels = draw(st.lists(st.integers(0, 3), min_size=3, max_size=most))
    assume(1 < len(set(labels)) < len(labels))
    width = draw(st.integers(1, 3))
    row = st.lists(st.integers(-3, 3), min_size=width, max_size=width)
    rows = draw(st.lists(row, min_size=len(labels), max_size=len(labels)))
    return torch.tensor(rows, dtype=torch.float64) / 2, labels


def random_batch(seed, size=12, width=5, classes=3, spread=0.0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(size) % classes
    centres = spread * torch.eye(classes, width, dtype=torch.float64)
    noise = torch.randn(size, width, generator=g, dtype=torch.float64)
    return centres[labels] + noise, labels


@given(batches(), st.sampled_from([0.0, 0.2, 1.0, 5.0]))
def test_semi_hard_is_its_loop(batch, margin):
    x, labels = batch
    assert_same(
        lambda e: semi_hard_loss(e, torch.tensor(labels), margin),
        lambda e: slow_semi_hard(e, labels, margin),
        x,
    )


@given(batches(), st.sampled_from([0.0, 1.0, 2.5]))
def test_lifted_structure_is_its_loop(batch, margin):
    x, labels = batch
    assert_same(
        lambda e: lifted_structure_loss(e, torch.tensor(labels), margin),
        lambda e: slow_lifted(e, labels, margin),
        x,
    )


@pytest.mark.parametrize("seed", range(3))
def test_lifted_structure_is_the_library_s(seed):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    distance = distances.LpDistance(normalize_embeddings=False)
    theirs = losses.LiftedStructureLoss(neg_margin=1.0, distance=distance)
    x, labels = random_batch(seed)
    ours, gradient = value_and_gradient(lambda e: lifted_structure_loss(e, labels), x)
    value, expected = value_and_gradient(lambda e: theirs(e, labels), x)
    torch.testing.assert_close(ours, value)
    torch.testing.assert_close(gradient, expected)


@given(
    st.integers(2, 6), st.integers(1, 4), st.integers(0, 99), st.floats(0, 1), st.data()
)
def test_n_pairs_is_its_loop(pairs, width, seed, l2_weight, data):
    x, _ = random_batch(seed, 2 * pairs, width, 1)
    classes = data.draw(st.permutations(range(pairs)))
    labels = torch.tensor(classes).repeat_interleave(2)
    assert_same(
        lambda e: n_pairs_loss(e, labels, l2_weight),
        lambda e: slow_n_pairs(e, l2_weight),
        x,
    )


def test_n_pairs_default_weight_is_the_documented_one():
    x, labels = torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])
    x[:, 0] = 2.0  # all equal: log 2 + 0.002/4 · (4 + 4)
    expected = math.log(2) + 0.004
    assert n_pairs_loss(x, labels).item() == pytest.approx(expected, rel=1e-6)


def test_n_pairs_stands_large_products():
    x = torch.full((4, 1), 100.0)
    x[2:] *= -1
    loss = n_pairs_loss(x, torch.tensor([0, 0, 1, 1]), l2_weight=0.0)
    assert loss.item() == 0.0
    x[[1, 3]] = x[[3, 1]]  # each anchor beside the other's positive
    loss = n_pairs_loss(x, torch.tensor([0, 0, 1, 1]), l2_weight=0.0)
    assert loss.item() == pytest.approx(2e4)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 99), st.booleans())
def test_triplet_global_is_its_loop(size, width, seed, duplicates):
    a, p, n = random_batch(seed, 3 * size, width, 1)[0].split(size)
    if duplicates:
        p, n = a.clone(), p  # D(a,p) = 0 in the denominator
    for settings in ((0.01, 0.4, 0.8, 1.0), (0.5, 0.0, 2.0, 0.3), (0.1, 4.0, 1.0, 0.0)):
        assert_same(
            lambda *e, s=settings: triplet_global_loss(*e, *s),
            lambda *e, s=settings: slow_triplet_global(*e, *s),
            *(a, p, n),
        )


def test_triplet_global_defaults_are_the_documented_ones():
    a, p, n = torch.randn(3, 7, 4, dtype=torch.float64).unbind()
    expected = slow_triplet_global(a, p, n, 0.01, 0.4, 0.8, 1.0)
    torch.testing.assert_close(triplet_global_loss(a, p, n), expected)


@pytest.mark.parametrize("alpha", [1.0, 32.0])
@pytest.mark.parametrize("classes", [3, 5])  # of five proxies
def test_proxy_anchor_is_its_loop(classes, alpha):
    x, labels = random_batch(classes, classes=classes, width=4)
    proxies, _ = random_batch(7, size=5, width=4)
    before = torch.get_rng_state()
    assert_same(
        lambda e, p: proxy_anchor_loss(e, labels, p, alpha),
        lambda e, p: slow_proxy_anchor(e, labels, p, alpha),
        *(x, proxies),
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_proxy_anchor_default_is_the_documented_one():
    x, labels = random_batch(0, classes=3)
    expected = slow_proxy_anchor(x, labels, x[:4], 32.0)
    torch.testing.assert_close(proxy_anchor_loss(x, labels, x[:4]), expected)


@pytest.mark.parametrize("beta", [2.0, 50.0])
@pytest.mark.parametrize("seed", range(3))
def test_multi_similarity_is_its_loop(seed, beta):
    x, labels = random_batch(seed, size=10, width=4, spread=seed)
    labels[0] = 9  # alone in its class
    assert_same(
        lambda e: multi_similarity_loss(e, labels, beta),
        lambda e: slow_multi_similarity(e, labels, beta),
        x,
    )


def test_multi_similarity_default_is_the_documented_one():
    x, labels = random_batch(0)
    expected = slow_multi_similarity(x, labels, 50.0)
    torch.testing.assert_close(multi_similarity_loss(x, labels), expected)


def test_multi_similarity_of_easy_pairs_alone_is_zero_with_a_gradient():
    x, labels = torch.eye(2)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, 1])
    value, gradient = value_and_gradient(lambda e: multi_similarity_loss(e, labels), x)
    assert value == 0 and not gradient.any()


def test_multi_similarity_refuses_a_scale_that_it_would_divide_by():
    x, labels = random_batch(0)
    with pytest.raises(ValueError, match=r"beta=0; expected a positive one"):
        multi_similarity_loss(x, labels, 0)


# Clustering: the value for the medoids found, and the search for them.


def found(x, labels, gamma):
    d = rivals._distances(x).numpy()  # another last bit could break a tie otherwise
    classes = np.unique(labels, return_inverse=True)[1]
    return find_medoids(d, classes, gamma)


@given(batches(most=7), st.sampled_from([0.0, 1.0, 10.0]))
def test_clustering_is_between_the_formula_for_its_medoids_and_the_maximum(
    batch, gamma
):
    x, labels = batch
    classes = len(set(labels))
    medoids = found(x, labels, gamma)
    assert len(set(medoids)) == classes
    loss = clustering_loss(x, torch.tensor(labels), gamma).item()
    oracle = slow_oracle(x, labels)
    at_medoids = slow_score(x, labels, medoids, gamma) - oracle
    best = max(
        slow_score(x, labels, s, gamma).item()
        for s in itertools.combinations(range(len(x)), classes)
    )
    assert loss == pytest.approx(max(0.0, at_medoids.item()), abs=1e-9)
    assert loss <= max(0.0, best - oracle.item()) + 1e-9


@pytest.mark.parametrize("gamma", [0.5, 3.0, 20.0])
@pytest.mark.parametrize("seed", range(4))
def test_clustering_value_and_gradient_for_the_medoids_found(seed, gamma):
    x, labels = random_batch(seed)
    names = labels.tolist()
    assert_same(
        lambda e: clustering_loss(e, labels, gamma),
        lambda e: torch.relu(
            slow_score(e, names, found(e.detach(), names, gamma), gamma)
            - slow_oracle(e, names)
        ),
        x,
    )


@pytest.mark.parametrize("gamma", [0.0, 1.0, 20.0])
@pytest.mark.parametrize("seed", range(4))
def test_medoids_are_those_of_the_slow_search(seed, gamma, monkeypatch):
    x, labels = random_batch(seed, size=11)
    names = labels.tolist()
    refined = slow_medoids(x, names, gamma, medoid_search.REFINEMENT_ROUNDS)
    assert found(x, names, gamma) == refined
    monkeypatch.setattr(medoid_search, "REFINEMENT_ROUNDS", 0)
    assert found(x, names, gamma) == slow_medoids(x, names, gamma, 0)


def test_refinement_never_lowers_the_score_and_sometimes_raises_it(monkeypatch):
    gains = []
    for seed in range(12):
        x, labels = random_batch(seed, size=10)
        scores = []
        for rounds in range(3):
            monkeypatch.setattr(medoid_search, "REFINEMENT_ROUNDS", rounds)
            medoids = found(x, labels.tolist(), 1.0)
            scores.append(slow_score(x, labels.tolist(), medoids, 1.0).item())
        gains += [scores[1] - scores[0], scores[2] - scores[1]]
    assert min(gains) >= -1e-12
    assert max(gains) > 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_well_separated_classes_reach_the_maximum(seed):
    x, labels = random_batch(seed, size=8, spread=30.0)
    names = labels.tolist()
    best = max(
        slow_score(x, names, s, 1.0).item()
        for s in itertools.combinations(range(len(x)), 3)
    )
    ours = slow_score(x, names, found(x, names, 1.0), 1.0).item()
    assert ours == pytest.approx(best, abs=1e-9)
    assert clustering_loss(x, labels).item() == pytest.approx(0.0, abs=1e-9)


@given(batches(), st.data(), st.sampled_from([0.0, 1.0, 10.0]))
def test_each_candidate_has_the_score_of_its_medoids(batch, data, gamma):
    """Ties too: an image between an old medoid and the candidate."""
    x, labels = batch
    order = data.draw(st.permutations(range(len(labels))))
    count = data.draw(st.integers(0, len(set(labels)) - 1))
    medoids, candidates = list(order[:count]), np.array(order[count:])
    d = rivals._distances(x).numpy()  # another last bit could break a tie otherwise
    classes = np.unique(labels, return_inverse=True)[1]
    scores = medoid_search._scores(d, classes, gamma, medoids, candidates)
    expected = [
        slow_score(x, labels, [*medoids, c], gamma).item() for c in candidates.tolist()
    ]
    assert scores == pytest.approx(expected, abs=1e-9)


@given(batches(), st.data())
def test_assignments_are_the_nearest_lowest_row(batch, data):
    x, labels = batch
    size = len(labels)
    medoids = data.draw(st.lists(st.integers(0, size - 1), min_size=1, unique=True))
    d = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    owner = slow_assignments(x, medoids)
    assert cluster_assignments(d, medoids).tolist() == owner
    classes = np.unique(labels, return_inverse=True)[1]
    assert agreement(d, classes, medoids) == pytest.approx(slow_nmi(owner, labels))


# All of them.


@pytest.mark.parametrize("loss", BATCH_LOSSES)
def test_gradients_are_finite_where_all_embeddings_are_equal(loss):
    labels = torch.tensor([0, 0, 1, 1, 2])
    for dtype in (torch.float16, torch.float32, torch.float64):
        x = torch.full((5, 7), 0.3, dtype=dtype)
        with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either
            value, gradient = value_and_gradient(lambda e: loss(e, labels), x)
        assert value.isfinite()
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("loss", BATCH_LOSSES)
def test_a_duplicate_of_another_class_has_a_finite_gradient(loss):
    x, labels = random_batch(3, size=40, width=64)
    x = torch.nn.functional.normalize(x).float()
    x[1] = x[0]  # another class
    x[3] = x[0]  # its own
    value, gradient = value_and_gradient(lambda e: loss(e, labels), x)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 100


@pytest.mark.parametrize("loss", BATCH_LOSSES)
def test_float32_keeps_small_distances(loss):
    """The matrix of products alone would lose distances below 3e-4 in float32."""
    noise, labels = random_batch(5, size=40, width=16)
    x = torch.ones(40, 16, dtype=torch.float64) / 4 + 1e-4 * noise
    x = x.float()
    ours = value_and_gradient(lambda e: loss(e, labels), x)
    exact = value_and_gradient(lambda e: loss(e, labels), x.double())
    torch.testing.assert_close(ours[0].double(), exact[0], rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(ours[1], exact[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("loss", [*BATCH_LOSSES, n_pairs_loss])
def test_gradients_are_those_of_the_values(loss):
    x, labels = random_batch(11, size=8, width=4, classes=4)
    labels = labels.sort().values
    x = x.requires_grad_()
    assert loss(x, labels) > 0
    assert torch.autograd.gradcheck(lambda e: loss(e, labels), x)


def test_gradients_of_triplet_global_are_those_of_its_values():
    x = random_batch(2, size=15)[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda e: triplet_global_loss(*e.split(5)), x)


@given(batches(), st.data())
def test_the_order_of_the_rows_does_not_matter(batch, data):
    x, labels = batch
    order = data.draw(st.permutations(range(len(labels))))
    labels = torch.tensor(labels)
    for loss in (semi_hard_loss, lifted_structure_loss):
        there = loss(x[order], 7 - labels[order])  # nor the names of the classes
        torch.testing.assert_close(loss(x, labels), there)


@pytest.mark.parametrize("loss", BATCH_LOSSES)
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [5]])
def test_batches_without_pairs_or_negatives_are_refused(loss, labels):
    with pytest.raises(ValueError, match="at least two classes, and two rows"):
        loss(torch.zeros(len(labels), 2), torch.tensor(labels))


@pytest.mark.parametrize(
    "labels", [[0, 0], [0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 1, 0, 0], []]
)
def test_n_pairs_refuses_what_is_not_pairs(labels):
    with pytest.raises(ValueError, match="rows 2i and 2i \\+ 1 of one class"):
        n_pairs_loss(
            torch.zeros(len(labels), 2), torch.tensor(labels, dtype=torch.int64)
        )


@pytest.mark.parametrize("loss", [*BATCH_LOSSES, n_pairs_loss])
@pytest.mark.parametrize(
    "embeddings, labels",
    [
        (torch.zeros(4), torch.tensor([0, 0, 1, 1])),
        (torch.zeros(4, 2, dtype=torch.int64), torch.tensor([0, 0, 1, 1])),
        (torch.zeros(4, 2), torch.tensor([0, 0, 1])),
        (torch.zeros(4, 2), torch.tensor([0.0, 0.0, 1.0, 1.0])),
    ],
)
def test_wrong_shapes_and_types_are_named(loss, embeddings, labels):
    with pytest.raises(ValueError, match=r"expected floating point of shape \(M, D\)"):
        loss(embeddings, labels)


def test_triplet_global_refuses_a_margin_of_zero_and_other_shapes():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="expected a positive one"):
        triplet_global_loss(x, x, x, margin=0.0)
    with pytest.raises(ValueError, match=r"shape \(3, 3\); expected \(2, 3\)"):
        triplet_global_loss(x, x, torch.zeros(3, 3))
