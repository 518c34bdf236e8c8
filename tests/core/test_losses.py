"""Equations (1) to (6) against slow loops written from the paper."""

import math
import statistics

import pytest
import torch

from qsel import losses

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Half precision is widened first, so only float32's rounding is left of it.
TOLERANCE = {
    torch.float16: 1e-5,
    torch.bfloat16: 1e-5,
    torch.float32: 1e-5,
    torch.float64: 1e-12,
}
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
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
class TestAgainstLoops:
    @pytest.mark.parametrize("scale", [1e-3, 0.2, 3.0])
    def test_distance_footnote_4(self, dtype, scale):
        a, b = embeddings(dtype, 2, scale=scale)
        assert_close(losses.distance(a, b), slow_distances(a, b), dtype)

    def test_half_precision_squares_do_not_overflow(self, dtype):
        a = torch.full((1, 4), 1000.0, dtype=dtype)
        assert_close(losses.distance(a, -a), slow_distances(a, -a), dtype)

    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    @pytest.mark.parametrize("margin", [0.0, 1.0, 3.0])
    def test_equation_1_contrastive(self, dtype, margin, reduction):
        a, b = embeddings(dtype, 2)
        same = [1, 0, 1, 0, 0, 1, 0]
        for labels in (torch.tensor(same), torch.tensor(same).bool()):
            got = losses.contrastive_loss(a, b, labels, margin, reduction)
            expected = slow_reduce(slow_contrastive(a, b, same, margin), reduction)
            assert_close(got, expected, dtype)

    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    @pytest.mark.parametrize("margin", [0.0, 1.0, 5.0])
    def test_equation_2_triplet(self, dtype, margin, reduction):
        r, p, n = embeddings(dtype, 3)
        got = losses.triplet_loss(r, p, n, margin, reduction)
        expected = slow_reduce(slow_triplet(r, p, n, margin), reduction)
        assert_close(got, expected, dtype)

    @pytest.mark.parametrize("batch", [1, 2, 7])
    @pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.0), (0.0, 0.0)])
    @pytest.mark.parametrize("margins", MARGINS)
    def test_equation_3_global(self, dtype, margins, weights, batch):
        four = embeddings(dtype, 4, batch)
        got = losses.global_loss(*four, *margins, *weights)
        assert_close(got, slow_global(*four, *margins, *weights), dtype)

    @pytest.mark.parametrize("batch", [2, 7])
    @pytest.mark.parametrize("variance", ["unbiased", "squared"])
    def test_equation_3_with_the_other_variances(self, dtype, variance, batch):
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

    def test_variances_that_cannot_be(self, dtype):
        one = embeddings(dtype, 4, 1)
        assert losses.global_loss(*one, variance="squared").isfinite()
        with pytest.raises(ValueError, match="of a single quadruplet is undefined"):
            losses.global_loss(*one, variance="unbiased")
        with pytest.raises(ValueError, match="variance='none'; expected 'biased'"):
            losses.global_loss(*one, variance="none")

    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    @pytest.mark.parametrize("weights", [(0.08, 0.25), (0.25, 0.08), (1.0, 0.0)])
    def test_equation_4_classification(self, dtype, weights, reduction):
        coarse_scores, fine_scores = embeddings(dtype, 2, batch=6, dim=9, scale=3.0)
        coarse_scores = coarse_scores[:, :4]
        coarse, fine = (
            torch.tensor([0, 1, 2, 3, 3, 0]),
            torch.tensor([8, 0, 3, 1, 7, 7]),
        )
        got = losses.classification_loss(
            coarse_scores, fine_scores, coarse, fine, *weights, reduction
        )
        values = [
            c + f
            for c, f in zip(
                slow_softmax(coarse_scores, coarse, weights[0]),
                slow_softmax(fine_scores, fine, weights[1]),
                strict=True,
            )
        ]
        assert_close(got, slow_reduce(values, reduction), dtype)

    @pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
    @pytest.mark.parametrize("first_margin", ["difference", "derived"])
    @pytest.mark.parametrize("margins", MARGINS)
    def test_equation_5_joint(self, dtype, margins, first_margin, reduction):
        four = embeddings(dtype, 4)
        four[1] = four[0] + 2 * (four[1] - four[0])  # so that both terms are active
        classification = [0.1 * i for i in range(7)]
        for c in ([0.0] * 7, classification):
            got = losses.joint_loss(
                *four, torch.tensor(c), *margins, first_margin, reduction
            )
            values = slow_joint(*four, c, *margins, first_margin == "derived")
            wide = torch.float64 if dtype == torch.float64 else torch.float32
            expected = torch.tensor(slow_reduce(values, reduction), dtype=wide)
            # The labels' term is float32 here, so float32's tolerance throughout.
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    @pytest.mark.parametrize("first_margin", ["difference", "derived"])
    @pytest.mark.parametrize("eta", [0.0, 1.0, 0.3])
    def test_equation_6_combined(self, dtype, eta, first_margin, reduction):
        four = embeddings(dtype, 4)
        got = losses.combined_loss(
            *four,
            margin1=0.7,
            margin2=0.3,
            global_weight=eta,
            first_margin=first_margin,
            reduction=reduction,
        )
        joint = slow_joint(*four, [0.0] * 7, 0.7, 0.3, first_margin == "derived")
        expected = sum(joint) + eta * slow_global(*four, 0.7, 0.3, 1.0, 1.0)
        expected /= 7 if reduction == "mean" else 1
        assert_close(got, expected, dtype)


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


def test_equation_6_takes_the_classification_of_each_reference():
    four = embeddings(torch.float64, 4)
    c = torch.arange(7, dtype=torch.float64)
    for reduction, extra in (("mean", 3.0), ("sum", 21.0)):
        alone = losses.combined_loss(*four, reduction=reduction)
        both = losses.combined_loss(*four, c, reduction=reduction)
        torch.testing.assert_close(both, alone + extra)


@pytest.mark.parametrize("batch", [16, 128])
def test_equation_6_with_the_recorded_balance_repeats_every_bit(batch):
    """Runs before took the mean of (5) plus (3): a weight of B gives just that."""
    four = embeddings(torch.float32, 4, batch)
    found, expected = [], []
    for x, old in ((found, False), (expected, True)):
        inputs = [part.clone().requires_grad_() for part in four]
        if old:
            loss = losses.joint_loss(*inputs) + 1.0 * losses.global_loss(*inputs)
        else:
            loss = losses.combined_loss(*inputs, global_weight=float(batch))
        x += [loss, *torch.autograd.grad(loss, inputs)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


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
        "5 derived": lambda *q: losses.joint_loss(
            *q, 0.0, margin1, margin2, first_margin="derived"
        ),
        "6 combined": lambda *q: losses.combined_loss(*q, 0.0, margin1, margin2),
    }


class TestGradients:
    @pytest.mark.parametrize("name", objectives(0, 0, 1))
    @pytest.mark.parametrize("margins", MARGINS)
    def test_gradcheck(self, name, margins):
        four = embeddings(torch.float64, 4, batch=4, dim=3, seed=3)
        four = [x.requires_grad_() for x in four]
        assert torch.autograd.gradcheck(objectives(*margins, 4)[name], four)

    def test_gradcheck_equation_4(self):
        scores = [x.requires_grad_() for x in embeddings(torch.float64, 2)]
        labels = torch.tensor([0, 1, 2, 3, 4, 0, 1])
        assert torch.autograd.gradcheck(
            lambda c, f: losses.classification_loss(c, f, labels, labels), scores
        )

    def test_gradcheck_through_the_classification_term(self):
        four = embeddings(torch.float64, 4)
        c = torch.rand(7, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda c: losses.combined_loss(*four, c), [c])

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("batch", [1, 3])
    @pytest.mark.parametrize("margins", MARGINS)
    @pytest.mark.parametrize("name", objectives(0, 0, 1))
    def test_finite_where_any_distance_is_zero(self, name, margins, batch, dtype):
        objective = objectives(*margins, batch)[name]
        for same_as_r in range(8):  # every subset of P⁺, P⁻, N may coincide with R
            four = embeddings(dtype, 4, batch, seed=same_as_r)
            for place in range(3):
                if same_as_r >> place & 1:
                    four[place + 1] = four[0].clone()
            four = [x.requires_grad_() for x in four]
            value = objective(*four)
            gradients = torch.autograd.grad(value, four, allow_unused=True)
            assert value.isfinite()
            for g in gradients:
                assert g is None or (g.dtype == dtype and g.isfinite().all())

    def test_a_zero_distance_has_a_zero_gradient(self):
        a = torch.ones(2, 3, requires_grad=True)
        losses.distance(a, torch.ones(2, 3)).sum().backward()
        assert a.grad.eq(0).all()


class TestErrors:
    four = embeddings(torch.float32, 4)

    @pytest.mark.parametrize(
        ("bad", "words"),
        [
            (torch.zeros(7, 4), r"\(7, 4\)"),
            (torch.zeros(6, 5), r"\(6, 5\)"),
            (torch.zeros(5), r"\(5,\).*expected .* floating point of shape \(B, D\)"),
            (torch.zeros(7, 5, dtype=torch.int64), "int64.*floating point"),
            (torch.zeros(0, 5), r"\(0, 5\).*at least 1"),
        ],
    )
    def test_embeddings(self, bad, words):
        for name, loss in objectives(0.7, 0.3, 7).items():
            with pytest.raises(ValueError, match=words):
                loss(*self.four[:1], bad, bad, bad)
            if name[0] != "1" and name[0] != "2":
                with pytest.raises(ValueError, match=words):
                    loss(*self.four[:3], bad)

    def test_reduction(self):
        with pytest.raises(ValueError, match="'median'; expected 'mean', 'sum' or"):
            losses.joint_loss(*self.four, reduction="median")
        with pytest.raises(ValueError, match="'none'; expected 'mean' or 'sum'"):
            losses.combined_loss(*self.four, reduction="none")

    def test_first_margin(self):
        with pytest.raises(ValueError, match="first_margin='m1'.*'derived'"):
            losses.combined_loss(*self.four, first_margin="m1")

    @pytest.mark.parametrize("margins", [(0.3, 0.7), (-1.0, -2.0), (0.5, -0.1)])
    def test_margins(self, margins):
        with pytest.raises(ValueError, match="margin1 > margin2 > 0"):
            losses.joint_loss(*self.four, 0.0, *margins)

    def test_same(self):
        with pytest.raises(ValueError, match=r"\(3,\); expected \(7,\)"):
            losses.contrastive_loss(*self.four[:2], torch.ones(3))

    @pytest.mark.parametrize("level", ["coarse", "fine"])
    @pytest.mark.parametrize("label", [-1, 5])
    def test_label_outside_its_scores(self, level, label):
        right, wrong = torch.tensor([0, 4]), torch.tensor([0, label])
        labels = (wrong, right) if level == "coarse" else (right, wrong)
        with pytest.raises(ValueError, match=rf"{level} labels .* are 5 {level}"):
            losses.classification_loss(torch.zeros(2, 5), torch.zeros(2, 5), *labels)

    def test_scores_and_labels_of_different_batches(self):
        three, two = torch.zeros(3, dtype=torch.int64), torch.zeros(2, 5)
        with pytest.raises(ValueError, match=r"coarse scores .*\(2, 5\).*\(3,\)"):
            losses.classification_loss(two, two, three, three)

    @pytest.mark.parametrize("shape", [(7, 1), (1,), (3,)])
    def test_classification_of_another_shape(self, shape):
        with pytest.raises(ValueError, match=r"expected \(7,\), equation \(4\)"):
            losses.joint_loss(*self.four, torch.ones(shape))

    def test_labels_that_are_not_int64_and_an_empty_batch(self):
        scores, labels = torch.zeros(2, 5), torch.zeros(2, dtype=torch.int32)
        with pytest.raises(ValueError, match="int32 labels .*expected .* int64"):
            losses.classification_loss(scores, scores, labels, labels)
        with pytest.raises(ValueError, match="at least 1"):
            losses.classification_loss(
                scores[:0], scores[:0], labels[:0].long(), labels[:0].long()
            )

    def test_embeddings_that_are_no_tensor(self):
        with pytest.raises(ValueError, match="second embeddings are a list"):
            losses.distance(self.four[0], [[0.0]])
