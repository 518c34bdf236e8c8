"""Equations (1) to (6) against slow loops written from the paper."""

import math
import statistics
from itertools import product

import pytest
import torch
from blocks import DTYPES

from qsel import losses

MARGINS = [(0.7, 0.3), (0.3, 0.3), (1.5, 0.0), (0.0, 0.0)]


# The slow twins: plain floats, one loop a sum, in the paper's words.


def plus(x):
    return max(0.0, x)


def slow_distances(a, b):
    return [
        math.sqrt(math.fsum((x - y) ** 2 for x, y in zip(row_a, row_b, strict=True)))
        for row_a, row_b in zip(a.tolist(), b.tolist(), strict=True)
    ]


def slow_contrastive(a, b, same, margin):
    return [
        y * d**2 + (1 - y) * plus(margin - d) ** 2
        for d, y in zip(slow_distances(a, b), same, strict=True)
    ]


def slow_triplet(r, p, n, margin):
    return [
        plus(d_p**2 - d_n**2 + margin)
        for d_p, d_n in zip(slow_distances(r, p), slow_distances(r, n), strict=True)
    ]


def slow_global(r, pp, pn, n, t1, t2, weight1, weight2):
    mean, variance = [], []
    for other in (pp, pn, n):
        d = slow_distances(r, other)
        mean.append(sum(d) / len(d))
        variance.append(sum((x - mean[-1]) ** 2 for x in d) / len(d))
    return (
        sum(variance)
        + weight1 * plus(mean[0] - mean[1] + t1 - t2)
        + weight2 * plus(mean[1] - mean[2] + t2)
    )


def slow_softmax(scores, labels, weight):
    values = []
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        total = math.fsum(math.exp(s) for s in row)
        values.append(-weight * math.log(math.exp(row[label]) / total))
    return values


def slow_joint(r, pp, pn, n, classification, margin1, margin2, derived):
    first = margin1 if derived else margin1 - margin2
    values = []
    for d_pp, d_pn, d_n, c in zip(
        slow_distances(r, pp),
        slow_distances(r, pn),
        slow_distances(r, n),
        classification,
        strict=True,
    ):
        fine = plus(1 - d_pn / (d_pp + first))
        coarse = plus(1 - d_n / (d_pn + margin2))
        values.append(fine + coarse + c)
    return values


def slow_reduce(values, reduction):
    total = sum(values)
    return {"sum": total, "mean": total / len(values), "none": values}[reduction]


# Cases and comparison.


def embeddings(dtype, count, batch=7, dim=5, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, batch, dim, generator=generator, dtype=torch.float64)
    return list((scale * x).to(dtype))


def assert_close(got, expected, dtype):
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert got.dtype == wide
    expected = torch.tensor(expected, dtype=wide)
    assert got.shape == expected.shape
    # Half precision is widened first, so only float32's rounding is left of it.
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    return request.param


REDUCTIONS = ("mean", "sum", "none")


def test_distance_footnote_4(dtype):
    for scale in (1e-3, 0.2, 3.0):
        a, b = embeddings(dtype, 2, scale=scale)
        assert_close(losses.distance(a, b), slow_distances(a, b), dtype)
    a = torch.full((1, 4), 1000.0, dtype=dtype)  # in half precision squares overflow
    assert_close(losses.distance(a, -a), slow_distances(a, -a), dtype)


def test_equation_1_contrastive(dtype):
    a, b = embeddings(dtype, 2)
    same = [1, 0, 1, 0, 0, 1, 0]
    for margin, reduction in product((0.0, 1.0, 3.0), REDUCTIONS):
        for labels in (torch.tensor(same), torch.tensor(same).bool()):
            got = losses.contrastive_loss(a, b, labels, margin, reduction)
            expected = slow_reduce(slow_contrastive(a, b, same, margin), reduction)
            assert_close(got, expected, dtype)


def test_equation_2_triplet(dtype):
    r, p, n = embeddings(dtype, 3)
    for margin, reduction in product((0.0, 1.0, 5.0), REDUCTIONS):
        got = losses.triplet_loss(r, p, n, margin, reduction)
        expected = slow_reduce(slow_triplet(r, p, n, margin), reduction)
        assert_close(got, expected, dtype)


def test_equation_3_global(dtype):
    weights = (1.0, 1.0), (0.5, 2.0), (0.0, 0.0)
    for batch, own, margins in product((1, 2, 7), weights, MARGINS):
        four = embeddings(dtype, 4, batch)
        got = losses.global_loss(*four, *margins, *own)
        assert_close(got, slow_global(*four, *margins, *own), dtype)


def test_equation_3_with_the_other_variances(dtype):
    for batch, variance in product((2, 7), ("unbiased", "squared")):
        four = embeddings(dtype, 4, batch)
        expected = slow_global(*four, 0.7, 0.3, 1, 1)
        for other in four[1:]:
            d = slow_distances(four[0], other)
            expected -= statistics.pvariance(d)
            if variance == "unbiased":
                expected += statistics.variance(d)
            else:
                expected += statistics.pvariance([x**2 / 4 for x in d])
        got = losses.global_loss(*four, variance=variance)
        assert_close(got, expected, dtype)
        both = losses.combined_loss(*four, variance=variance)
        assert torch.allclose(both, losses.joint_loss(*four) + got / batch)


def test_equation_4_classification(dtype):
    coarse_scores, fine_scores = embeddings(dtype, 2, batch=6, dim=9, scale=3.0)
    coarse_scores = coarse_scores[:, :4]
    coarse, fine = torch.tensor([[0, 1, 2, 3, 3, 0], [8, 0, 3, 1, 7, 7]])
    for weights, reduction in product([(0.08, 0.25), (1.0, 0.0)], REDUCTIONS):
        got = losses.classification_loss(
            coarse_scores, fine_scores, coarse, fine, *weights, reduction
        )
        both = zip(
            slow_softmax(coarse_scores, coarse, weights[0]),
            slow_softmax(fine_scores, fine, weights[1]),
            strict=True,
        )
        assert_close(got, slow_reduce([c + f for c, f in both], reduction), dtype)


def test_equation_5_joint(dtype):
    four = embeddings(dtype, 4)
    four[1] = four[0] + 2 * (four[1] - four[0])  # so that both terms are active
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    firsts, classification = ("difference", "derived"), [0.1 * i for i in range(7)]
    for margins, first, reduction in product(MARGINS, firsts, REDUCTIONS):
        got = losses.joint_loss(
            *four, torch.tensor(classification), *margins, first, reduction
        )
        values = slow_joint(*four, classification, *margins, first == "derived")
        expected = torch.tensor(slow_reduce(values, reduction), dtype=wide)
        # The labels' term is float32 here, so float32's tolerance throughout.
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_equation_6_combined(dtype):
    four = embeddings(dtype, 4)
    c = torch.arange(7, dtype=four[0].dtype)
    firsts, etas = ("difference", "derived"), (0.0, 1.0, 0.3)
    for eta, first, reduction in product(etas, firsts, REDUCTIONS[:2]):
        got = losses.combined_loss(
            *four, c, global_weight=eta, first_margin=first, reduction=reduction
        )
        joint = slow_joint(*four, range(7), 0.7, 0.3, first == "derived")
        expected = sum(joint) + eta * slow_global(*four, 0.7, 0.3, 1.0, 1.0)
        assert_close(got, expected / (7 if reduction == "mean" else 1), dtype)


def test_the_papers_values_are_the_defaults():
    four = embeddings(torch.float64, 4)
    scores = embeddings(torch.float64, 2, dim=3)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    joint = slow_joint(*four, [0.0] * 7, 0.7, 0.3, derived=False)
    total = sum(joint) + slow_global(*four, 0.7, 0.3, 1.0, 1.0)
    assert_close(losses.combined_loss(*four), total / 7, torch.float64)
    heads = slow_reduce(slow_softmax(scores[0], labels, 0.08), "mean")
    heads += slow_reduce(slow_softmax(scores[1], labels, 0.25), "mean")
    got = losses.classification_loss(*scores, labels, labels)
    assert_close(got, heads, torch.float64)


def objectives(margin1, margin2, batch):
    """Every loss as a function of embeddings alone."""
    same = torch.arange(batch) % 2
    return {
        "1 contrastive": lambda r, p, m, n: losses.contrastive_loss(
            r, p, same, margin1
        ),
        "2 triplet": lambda r, p, m, n: losses.triplet_loss(r, p, n, margin1),
        "3 global": lambda *q: losses.global_loss(*q, margin1, margin2),
        "5 joint": lambda *q: losses.joint_loss(*q, 0.0, margin1, margin2),
        "6 derived": lambda *q: losses.combined_loss(
            *q, 0.0, margin1, margin2, first_margin="derived"
        ),
    }


def test_gradients_are_those_of_small_differences():
    for margins in ((0.7, 0.3), (0.0, 0.0)):
        four = embeddings(torch.float64, 4, batch=4, dim=3, seed=3)
        four = [x.requires_grad_() for x in four]
        for loss in objectives(*margins, 4).values():
            assert torch.autograd.gradcheck(loss, four)
    scores = [x.requires_grad_() for x in embeddings(torch.float64, 2)]
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    assert torch.autograd.gradcheck(
        lambda c, f: losses.classification_loss(c, f, labels, labels), scores
    )
    four = embeddings(torch.float64, 4)
    c = torch.rand(7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: losses.combined_loss(*four, c), [c])


@pytest.mark.parametrize("name", objectives(0, 0, 1))
def test_gradients_are_finite_where_any_distance_is_zero(name, dtype):
    for batch, margins in product((1, 3), ((0.7, 0.3), (0.0, 0.0))):
        objective = objectives(*margins, batch)[name]
        for same_as_r in range(8):  # every subset of P⁺, P⁻, N may coincide with R
            four = embeddings(dtype, 4, batch, seed=same_as_r)
            for place in range(3):
                if same_as_r >> place & 1:
                    four[place + 1] = four[0].clone()
            four = [x.requires_grad_() for x in four]
            value = objective(*four)
            assert value.isfinite()
            for g in torch.autograd.grad(value, four, allow_unused=True):
                assert g is None or (g.dtype == dtype and g.isfinite().all())
    a = torch.ones(2, 3, requires_grad=True)
    losses.distance(a, torch.ones(2, 3)).sum().backward()
    assert a.grad.eq(0).all()


FOUR = embeddings(torch.float32, 4)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (torch.zeros(7, 4), r"\(7, 4\)"),
        (torch.zeros(5), r"\(5,\).*expected .* floating point of shape \(B, D\)"),
        (torch.zeros(7, 5, dtype=torch.int64), "int64.*floating point"),
        (torch.zeros(0, 5), r"\(0, 5\).*at least 1"),
        ([[0.0]], "a list"),
    ],
)
def test_embeddings_that_do_not_fit(bad, words):
    for loss in objectives(0.7, 0.3, 7).values():
        with pytest.raises(ValueError, match=words):
            loss(FOUR[0], bad, bad, bad)


@pytest.mark.parametrize(
    ("loss", "arguments", "options", "words"),
    [
        ("joint", FOUR, dict(reduction="median"), "'median'; expected 'mean', 'sum' o"),
        ("combined", FOUR, dict(reduction="none"), "'none'; expected 'mean' or 'sum'"),
        ("combined", FOUR, dict(first_margin="m1"), "first_margin='m1'.*'derived'"),
        ("joint", [*FOUR, 0.0, 0.3, 0.7], {}, "margin1 > margin2 > 0"),
        ("joint", [*FOUR, 0.0, 0.5, -0.1], {}, "margin1 > margin2 > 0"),
        ("joint", [*FOUR, torch.ones(7, 1)], {}, r"expected \(7,\), equation \(4\)"),
        ("contrastive", [*FOUR[:2], torch.ones(3)], {}, r"\(3,\); expected \(7,\)"),
        ("global", FOUR, dict(variance="none"), "variance='none'; expected 'biased'"),
        (
            "global",
            embeddings(torch.float32, 4, 1),
            dict(variance="unbiased"),
            "of a single quadruplet is undefined",
        ),
    ],
)
def test_settings_that_cannot_be(loss, arguments, options, words):
    with pytest.raises(ValueError, match=words):
        getattr(losses, f"{loss}_loss")(*arguments, **options)


@pytest.mark.parametrize(
    ("coarse", "fine", "words"),
    [
        ([0, 5], [0, 4], "coarse labels .* are 5 coarse"),
        ([0, 4], [-1, 0], "fine labels .* are 5 fine"),
        ([0, 0, 0], [0, 0, 0], r"coarse scores .*\(2, 5\).*\(3,\)"),
        ([0.0, 1.0], [0, 0], "float32 labels .*expected .* int64"),
    ],
)
def test_labels_that_do_not_fit_their_scores(coarse, fine, words):
    scores = torch.zeros(2, 5)
    with pytest.raises(ValueError, match=words):
        losses.classification_loss(
            scores, scores, torch.tensor(coarse), torch.tensor(fine)
        )
