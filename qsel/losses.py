"""Equations (1)–(6) of the paper, in its order and under its numbers.

Every function takes embeddings of shape (B, D), one row for each sample; quadruplets in
the order R, P⁺, P⁻, N. It returns a scalar in float32 (float64 for float64 input), or
(B,) values with reduction="none". Distances are l2 norms (footnote 4) and margins are
distances: ``margin1`` is m₁ = t₁, ``margin2`` is m₂ = t₂. All gradients are finite at
D = 0. Bad input raises ValueError.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from qsel.vectors import check_indices, describe

# The paper's values (§4).
MARGIN1, MARGIN2 = 0.7, 0.3  # m₁ = t₁, m₂ = t₂
COARSE_WEIGHT, FINE_WEIGHT = 0.08, 0.25  # λ_c1, λ_c2
GLOBAL_WEIGHT = 1.0  # η; λ_g1 and λ_g2 are 1 as well


def distance(a: Tensor, b: Tensor) -> Tensor:
    """(B,) row-wise l2 distances, D = ‖a - b‖₂; at D = 0 their gradient is 0.

    Example:
        >>> distance(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2))
        tensor([5.])
    """
    _check_rows(a, b)
    return torch.linalg.vector_norm(_widen(a) - _widen(b), dim=1)


def contrastive_loss(
    a: Tensor, b: Tensor, same: Tensor, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Contrastive loss of pairs, equation (1), after Hadsell et al. 2006.

    L = y D² + (1 - y) [α - D]₊², with α the margin and y = ``same``, (B,): 1 or True
    where the pair shares its class.

    Example:
        >>> a, b = torch.zeros(2, 2), torch.tensor([[0.5, 0.0], [0.5, 0.0]])
        >>> contrastive_loss(a, b, torch.tensor([1, 0]), reduction="none")
        tensor([0.2500, 0.2500])
    """
    d = distance(a, b)
    _check_shape("`same`", same, d, "one label a pair")
    y = same.to(d.dtype)
    return _reduce(y * d**2 + (1 - y) * F.relu(margin - d) ** 2, reduction)


def triplet_loss(
    reference: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Triplet loss on squared distances, equation (2).

    L = [D²(R,P) - D²(R,N) + m]₊, with the margin m in units of squared distance.

    Example:
        >>> r, p, n = torch.tensor([[[0.0]], [[1.0]], [[2.0]]])
        >>> triplet_loss(r, p, n, margin=4.0)
        tensor(1.)
    """
    d_p, d_n = distance(reference, positive), distance(reference, negative)
    return _reduce(F.relu(d_p**2 - d_n**2 + margin), reduction)


def global_loss(
    reference: Tensor,
    positive_positive: Tensor,
    positive_negative: Tensor,
    negative: Tensor,
    margin1: float = MARGIN1,
    margin2: float = MARGIN2,
    weight1: float = 1.0,
    weight2: float = 1.0,
    variance: str = "biased",
) -> Tensor:
    """Global loss over the batch's distances, equation (3).

    L = σ²(P⁺) + σ²(P⁻) + σ²(N) + λ_g1 [μ(P⁺) - μ(P⁻) + t₁ - t₂]₊
        + λ_g2 [μ(P⁻) - μ(N) + t₂]₊

    μ and σ² are the mean and the variance, over the batch, of the distances from R.
    ``weight1`` is λ_g1, ``weight2`` is λ_g2. The paper does not say which variance:
    "biased" divides by B, "unbiased" by B - 1, and "squared" is the biased variance of
    D²/4, as in the source of this loss (Kumar et al. 2016).

    Example:
        >>> r, near, far = torch.zeros(2, 1), torch.ones(2, 1), 3 * torch.ones(2, 1)
        >>> global_loss(r, near, near, far)  # [1 - 1 + 0.4] + [1 - 3 + 0.3]
        tensor(0.4000)
    """
    others = (positive_positive, positive_negative, negative)
    d_pp, d_pn, d_n = (distance(reference, other) for other in others)
    variances = sum(_variance(d, variance) for d in (d_pp, d_pn, d_n))
    fine_gap = F.relu(d_pp.mean() - d_pn.mean() + margin1 - margin2)
    coarse_gap = F.relu(d_pn.mean() - d_n.mean() + margin2)
    return variances + weight1 * fine_gap + weight2 * coarse_gap


def classification_loss(
    coarse_scores: Tensor,
    fine_scores: Tensor,
    coarse: Tensor,
    fine: Tensor,
    coarse_weight: float = COARSE_WEIGHT,
    fine_weight: float = FINE_WEIGHT,
    reduction: str = "mean",
) -> Tensor:
    """Softmax loss of both label levels, equation (4).

    L = -λ_c1 log softmax(coarse scores)[c₁] - λ_c2 log softmax(fine scores)[c₂]

    As in the formula, λ_c1 = ``coarse_weight`` weighs the coarse sum and
    λ_c2 = ``fine_weight`` the fine one. The scores are (B, C) and (B, F), the labels
    (B,) int64.

    Example:
        >>> label = torch.tensor([0])
        >>> classification_loss(torch.zeros(1, 2), torch.zeros(1, 4), label, label)
        tensor(0.4020)
    """
    coarse_term = _cross_entropy("coarse", coarse_scores, coarse)
    fine_term = _cross_entropy("fine", fine_scores, fine)
    return _reduce(coarse_weight * coarse_term + fine_weight * fine_term, reduction)


def joint_loss(
    reference: Tensor,
    positive_positive: Tensor,
    positive_negative: Tensor,
    negative: Tensor,
    classification: Tensor | float = 0.0,
    margin1: float = MARGIN1,
    margin2: float = MARGIN2,
    first_margin: str = "difference",
    reduction: str = "mean",
) -> Tensor:
    """Joint loss of a quadruplet, equation (5).

    L = [1 - D(R,P⁻) / (D(R,P⁺) + m₁ - m₂)]₊ + [1 - D(R,N) / (D(R,P⁻) + m₂)]₊
        + L_C1,C2(x^R)

    ``classification`` is (B,) values of equation (4) for R, or 0 to leave it out.
    first_margin="difference" uses m₁ - m₂ in the first fraction, as printed; "derived"
    uses m₁, as in the inequality of the text.

    Example:
        >>> r, pp = torch.zeros(1, 1), torch.tensor([[0.6]])
        >>> pn, n = torch.tensor([[0.5]]), torch.tensor([[0.4]])
        >>> joint_loss(r, pp, pn, n)  # [1 - 0.5 / 1.0] + [1 - 0.4 / 0.8]
        tensor(1.)
    """
    others = (positive_positive, positive_negative, negative)
    d_pp, d_pn, d_n = (distance(reference, other) for other in others)
    m = _first_margin(margin1, margin2, first_margin)
    fine_term = F.relu(1 - d_pn / _above_zero(d_pp + m))
    coarse_term = F.relu(1 - d_n / _above_zero(d_pn + margin2))
    if isinstance(classification, Tensor) and classification.ndim:
        _check_shape("classification", classification, d_pp, "equation (4) unreduced")
    return _reduce(fine_term + coarse_term + classification, reduction)


def combined_loss(
    reference: Tensor,
    positive_positive: Tensor,
    positive_negative: Tensor,
    negative: Tensor,
    classification: Tensor | float = 0.0,
    margin1: float = MARGIN1,
    margin2: float = MARGIN2,
    global_weight: float = GLOBAL_WEIGHT,
    first_margin: str = "difference",
    reduction: str = "mean",
    variance: str = "biased",
) -> Tensor:
    """The whole objective, equation (6): L = Σ_i L_joint(Q_i) + η L_global(Q).

    ``global_weight`` is η. The paper sums over a batch of unknown size. The default
    "mean" divides the whole by B: the two terms keep their printed balance, and the
    step does not grow with the batch.

    Example:
        >>> r, near, far = torch.zeros(2, 1), torch.ones(2, 1), 3 * torch.ones(2, 1)
        >>> combined_loss(r, near, near, far)  # (5): 2 · (1 - 1/1.4), (3): 0.4; B: 2
        tensor(0.4857)
    """
    _check_choice("reduction", reduction, "mean", "sum")
    four = (reference, positive_positive, positive_negative, negative)
    joint = joint_loss(*four, classification, margin1, margin2, first_margin, reduction)
    whole = global_loss(*four, margin1, margin2, variance=variance)
    batch = len(reference) if reduction == "mean" else 1
    return joint + global_weight / batch * whole


def _widen(x: Tensor) -> Tensor:
    """Half precision as float32, because squares of 1e3 overflow float16."""
    return x if x.dtype == torch.float64 else x.float()


def _above_zero(x: Tensor) -> Tensor:
    """Guard the denominators of (5), which are 0 at D = 0 with a margin of 0."""
    return x.clamp_min(torch.finfo(x.dtype).eps)


def _variance(d: Tensor, kind: str) -> Tensor:
    _check_choice("variance", kind, "biased", "unbiased", "squared")
    if kind == "unbiased" and len(d) == 1:
        raise ValueError(
            "the unbiased variance of a single quadruplet is undefined; give a batch "
            "of 2 or more, or variance='biased'"
        )
    d = d.square() / 4 if kind == "squared" else d
    return d.var(correction=int(kind == "unbiased"))


def _first_margin(margin1: float, margin2: float, kind: str) -> float:
    _check_choice("first_margin", kind, "difference", "derived")
    margin = margin1 - margin2 if kind == "difference" else margin1
    if margin < 0 or margin2 < 0:
        raise ValueError(
            f"margin1={margin1}, margin2={margin2}: the paper asks for "
            "margin1 > margin2 > 0; a negative margin can make equation (5) divide "
            "by a negative number"
        )
    return margin


def _reduce(values: Tensor, reduction: str) -> Tensor:
    _check_choice("reduction", reduction, "mean", "sum", "none")
    return values if reduction == "none" else getattr(values, reduction)()


def _check_choice(name: str, given: str, *known: str) -> None:
    if given not in known:
        *others, last = map(repr, known)
        expected = f"{', '.join(others)} or {last}"
        raise ValueError(f"{name}={given!r}; expected {expected}")


def _check_rows(a: Tensor, b: Tensor) -> None:
    for name, x in (("first", a), ("second", b)):
        tensor = isinstance(x, Tensor)
        if not tensor or x.ndim != 2 or not x.is_floating_point() or not len(x):
            what = describe(x) if tensor else f"a {describe(x)}"
            raise ValueError(
                f"the {name} embeddings are {what}; expected a torch tensor, "
                "floating point of shape (B, D) with B of at least 1"
            )
    _check_shape("the second tensor", b, a, "as the first has")


def _check_shape(name: str, given: Tensor, d: Tensor, what: str) -> None:
    if given.shape != d.shape:
        raise ValueError(
            f"{name} has shape {tuple(given.shape)}; expected {tuple(d.shape)}, {what}"
        )


def _cross_entropy(level: str, scores: Tensor, labels: Tensor) -> Tensor:
    good = scores.ndim == 2 and len(scores) and labels.dtype == torch.int64
    if not good or labels.shape != scores.shape[:1]:
        raise ValueError(
            f"{level} scores of shape {tuple(scores.shape)} and {labels.dtype} labels "
            f"of shape {tuple(labels.shape)}; expected (B, classes) and int64 (B,), B "
            "of at least 1"
        )
    # On CUDA looking would wait for the device, which refuses such labels itself.
    if not labels.is_cuda:
        classes = scores.shape[1]
        why = f"there are {classes} {level} scores a sample"
        check_indices(f"{level} labels", labels, classes, why)
    return F.cross_entropy(_widen(scores), labels, reduction="none")
