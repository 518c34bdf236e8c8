"""The other objectives: slow loops from their papers, or the library's own values."""

import itertools
import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as library
from pytorch_metric_learning.distances import LpDistance

from qsel.experiments import medoids as medoid_search
from qsel.experiments import rivals
from qsel.experiments.medoids import find_medoids
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
losses = pytest.mark.parametrize("loss", BATCH_LOSSES)

# The slow twins: float64 scalars, one loop a sum, gradients by autograd.


def slow_distance(a, b):
    return torch.linalg.vector_norm(a - b)  # gradient 0 at 0


def slow_semi_hard(x, labels, margin):
    values, rows = [], range(len(labels))
    for a, p in itertools.permutations(rows, 2):
        if labels[a] == labels[p]:
            d_p = ((x[a] - x[p]) ** 2).sum()
            others = [n for n in rows if labels[n] != labels[a]]
            of_negatives = [((x[a] - x[n]) ** 2).sum() for n in others]
            farther = [d for d in of_negatives if d > d_p]
            best = min if farther else max  # the first row of a tie
            d_n = best(farther or of_negatives, key=torch.Tensor.item)
            values.append(torch.relu(d_p - d_n + margin))
    return sum(values) / len(values)


def slow_assignments(x, medoids):
    return [
        min(sorted(medoids), key=lambda j: slow_distance(row, x[j]).item()) for row in x
    ]


def slow_nmi(one, other):
    size, information = len(one), 0
    for a, b in itertools.product({*one}, {*other}):
        both = sum(pair == (a, b) for pair in zip(one, other, strict=True)) / size
        if both:
            alone = one.count(a) * other.count(b) / size**2
            information += both * math.log(both / alone)
    entropies = [
        -sum(y.count(k) / size * math.log(y.count(k) / size) for k in {*y})
        for y in (one, other)
    ]
    return information / math.sqrt(math.prod(entropies)) if all(entropies) else 0


def slow_score(x, labels, medoids, gamma):
    """F(X, S) + γ Δ(g(S), y)."""
    owner = slow_assignments(x, medoids)
    facility = -sum(slow_distance(x[i], x[j]) for i, j in enumerate(owner))
    return facility + gamma * (1 - slow_nmi(owner, labels))


def slow_oracle(x, labels):
    total = 0
    for k in sorted({*labels}):
        members = [i for i in range(len(x)) if labels[i] == k]
        sums = [-sum(slow_distance(x[i], x[j]) for i in members) for j in members]
        total = total + max(sums, key=torch.Tensor.item)
    return total


def slow_medoids(x, labels, gamma, rounds):
    def score(medoids):
        return slow_score(x, labels, medoids, gamma).item()

    rows, chosen = range(len(x)), []
    for _ in {*labels}:
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


def value_and_gradient(function, *inputs):
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    value = function(*leaves)
    value.backward()
    return value.detach(), torch.cat([x.grad.double() for x in leaves])


def assert_same(fast, slow, *inputs):
    """Values and gradients: float64 as given, float32 and float16 as rounded."""
    for dtype, near in (
        (torch.float64, 1e-9),
        (torch.float32, 1e-4),
        (torch.float16, 5e-3),
    ):
        rounded = [x.to(dtype) for x in inputs]
        value, gradient = value_and_gradient(fast, *rounded)
        assert value.dtype == (dtype if dtype == torch.float64 else torch.float32)
        expected = value_and_gradient(slow, *(x.double() for x in rounded))
        for ours, theirs in zip((value.double(), gradient), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=near, atol=near)


def ties(seed, size=8):
    """Halves of small integers: ties and duplicates, and distances without rounding."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-3, 4, (size, 1 + seed % 3), generator=g).double() / 2
    return x, torch.arange(size) % (2 + seed % 2)


def random_batch(seed, size=12, width=5, classes=3, spread=0.0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(size) % classes
    centres = spread * torch.eye(classes, width, dtype=torch.float64)
    noise = torch.randn(size, width, generator=g, dtype=torch.float64)
    return centres[labels] + noise, labels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("margin", [0.2, 5.0])
def test_semi_hard_is_its_loop(seed, margin):
    x, labels = ties(seed)
    assert_same(
        lambda e: semi_hard_loss(e, labels, margin),
        lambda e: slow_semi_hard(e, labels, margin),
        x,
    )


def test_triplet_global_is_its_formula():
    def slow(a, p, n, m=0.01, t=0.4, mean_weight=0.8, global_weight=1.0):
        d_p, d_n = (
            torch.stack([slow_distance(*pair) for pair in zip(a, x, strict=True)])
            for x in (p, n)
        )
        triplet = torch.relu(1 - d_n / (d_p + m)).mean()
        near, far = d_p**2 / 4, d_n**2 / 4
        spread = sum((q - q.mean()).square().mean() for q in (near, far))
        hinge = torch.relu(near.mean() - far.mean() + t)
        return triplet + global_weight * (spread + mean_weight * hinge)

    a, p, n = random_batch(3, 15, 4, 1)[0].split(5)
    for own in ((), (0.5, 0.0, 2.0, 0.3), (0.1, 4.0, 1.0, 0.0)):
        for three in ((a, p, n), (a, a.clone(), p)):  # D(a,p) = 0 in the denominator
            assert_same(
                lambda *e, s=own: triplet_global_loss(*e, *s),
                lambda *e, s=own: slow(*e, *s),
                *three,
            )


@pytest.mark.parametrize("seed", range(2))
def test_lifted_structure_and_n_pairs_have_the_library_s_values(seed):
    x, labels = random_batch(seed)
    plain = LpDistance(normalize_embeddings=False)
    theirs = library.LiftedStructureLoss(neg_margin=1.0, distance=plain)
    ours = value_and_gradient(lambda e: lifted_structure_loss(e, labels), x)
    expected = value_and_gradient(lambda e: theirs(e, labels), x)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)

    labels = torch.randperm(6).repeat_interleave(2)
    theirs = library.NPairsLoss()
    theirs.distance.normalize_embeddings = False
    ours = value_and_gradient(lambda e: n_pairs_loss(e, labels), x)
    expected = value_and_gradient(
        lambda e: theirs(e, labels) + 0.001 * e.square().sum(1).mean(), x
    )
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_proxy_anchor_is_the_formula_of_its_docstring():
    x, labels = random_batch(0, classes=3, width=4)
    proxies, _ = random_batch(7, size=5, width=4)
    before = torch.get_rng_state()

    def slow(x, proxies, alpha=32.0):
        unit = torch.nn.functional.normalize
        s = unit(x, dim=1) @ unit(proxies, dim=1).T
        own = labels[:, None] == torch.arange(5)
        pull = (own * torch.exp(-alpha * (s - 0.1))).sum(0)
        push = (~own * torch.exp(alpha * (s + 0.1))).sum(0)
        return (1 + pull).log()[:3].mean() + (1 + push).log().mean()

    assert_same(lambda e, p: proxy_anchor_loss(e, labels, p), slow, x, proxies)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", range(2))
def test_multi_similarity_is_the_formula_of_its_docstring(seed):
    x, labels = random_batch(seed, size=10, width=4, spread=seed)

    def slow(x):
        unit = torch.nn.functional.normalize(x, dim=1)
        total = 0
        for i, s in enumerate(unit @ unit.T):
            rows = range(len(x))
            own = [s[j] for j in rows if j != i and labels[j] == labels[i]]
            other = [s[j] for j in rows if labels[j] != labels[i]]
            pull = [torch.exp(-2 * (p - 0.5)) for p in own if p - 0.1 < max(other)]
            push = [torch.exp(50 * (n - 0.5)) for n in other if n + 0.1 > min(own)]
            total = total + (1 + sum(pull) + 0 * s[i]).log() / 2
            total = total + (1 + sum(push) + 0 * s[i]).log() / 50
        return total / len(x)

    assert_same(lambda e: multi_similarity_loss(e, labels), slow, x)
    with pytest.raises(ValueError, match=r"beta=0; expected a positive one"):
        multi_similarity_loss(x, labels, 0)


# Clustering: the value for the medoids found, and the search for them.


def distances(x):
    return rivals._distances(x).numpy()  # another last bit could break a tie otherwise


def found(x, labels, gamma):
    return find_medoids(distances(x), np.unique(labels, return_inverse=True)[1], gamma)


@pytest.mark.parametrize(("seed", "gamma"), [(0, 0.0), (1, 1.0), (2, 20.0)])
def test_medoids_are_those_of_the_slow_search(seed, gamma, monkeypatch):
    x, labels = random_batch(seed, size=11)
    names = labels.tolist()
    assert_same(
        lambda e: clustering_loss(e, labels, gamma),
        lambda e: torch.relu(
            slow_score(e, names, found(e.detach(), names, gamma), gamma)
            - slow_oracle(e, names)
        ),
        x,
    )
    refined = slow_medoids(x, names, gamma, medoid_search.REFINEMENT_ROUNDS)
    assert found(x, names, gamma) == refined
    best = max(
        slow_score(x, names, s, gamma).item()
        for s in itertools.combinations(range(len(x)), 3)
    )
    loss, oracle = clustering_loss(x, labels, gamma), slow_oracle(x, names)
    assert loss <= max(0.0, best - oracle) + 1e-9
    monkeypatch.setattr(medoid_search, "REFINEMENT_ROUNDS", 0)
    assert found(x, names, gamma) == slow_medoids(x, names, gamma, 0)


# All of them.


@losses
def test_gradients_are_finite_where_embeddings_are_equal(loss):
    labels = torch.tensor([0, 0, 1, 1, 2])
    for dtype in (torch.float16, torch.float64):
        x = torch.full((5, 7), 0.3, dtype=dtype)
        with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either
            value, gradient = value_and_gradient(lambda e: loss(e, labels), x)
        assert value.isfinite()
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))
    x, labels = random_batch(3, size=40, width=64)
    x = torch.nn.functional.normalize(x).float()
    x[1] = x[3] = x[0]  # of another class, of its own
    value, gradient = value_and_gradient(lambda e: loss(e, labels), x)
    assert value.isfinite() and gradient.abs().max() < 100


@pytest.mark.parametrize("loss", [*BATCH_LOSSES, n_pairs_loss])
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_batches_without_pairs_or_negatives_are_refused(loss, labels):
    with pytest.raises(ValueError, match="at least two classes, and two rows"):
        loss(torch.zeros(len(labels), 2), torch.tensor(labels))
