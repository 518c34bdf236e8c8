"""The other objectives of Table 1 and two later ones, of a batch of embeddings.

They see nothing but their batch; none searches the gallery. Each wants its own kind:

- semi-hard: any batch with two images of some class and another class;
- lifted structure, Multi-Similarity: the same;
- Proxy-Anchor: any batch, and a proxy of each class;
- N-pairs: rows 2i and 2i + 1 are one class, no class twice, not normalised;
- clustering: a few classes of several images each;
- triplet + global: triplets, three tensors of one shape.

All take (M, D) embeddings and their (M,) int64 fine labels, unless said otherwise, and
return a scalar in float32 (float64 for float64 input), with gradients that are finite
at D = 0. Nothing is normalised here. A batch without what its loss needs, no class with
two images or one class alone, is a ``ValueError``.

Two of them come from pytorch-metric-learning. Its N-pairs and lifted structure losses
have our values too, but the first sums in another order, so that recorded runs would
change, and the second fills a table of positive pairs by negative pairs. It has no
semi-hard mining that falls back as ours does, no clustering and no global loss.
"""

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_metric_learning import losses as library
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch import Tensor

from qsel.experiments.medoids import agreement, cluster_assignments, find_medoids
from qsel.losses import distance


def semi_hard_loss(embeddings: Tensor, labels: Tensor, margin: float = 0.2) -> Tensor:
    """FaceNet's loss with semi-hard negatives (Schroff et al. 2015).

    L = 1/|P| Σ_(a,p)∈P [D²(a,p) - D²(a,n) + m]₊

    P holds every ordered pair of two images of one class. n is the nearest negative
    of a that is farther away than p; if there is none, the furthest negative. The
    paper asks besides that n be within the margin, which the hinge does by itself, and
    does not say what to do when there is none; that rule is the one of the well-known
    TensorFlow implementation. Which n it is has no gradient.

    m is in units of squared distance.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [1.5]])  # pairs 0-1 and 1-0
        >>> semi_hard_loss(x, torch.tensor([0, 0, 1]), margin=2.0)
        tensor(1.7500)
    """
    same = _same_class(embeddings, labels)
    squared = _squared_distances(embeddings)
    a, p = _pairs(same).nonzero(as_tuple=True)  # (P,)
    with torch.no_grad():
        from_a, negative = squared[a], ~same[a]  # (P, M)
        farther = negative & (from_a > squared[a, p][:, None])
        nearest = from_a.masked_fill(~farther, torch.inf).argmin(dim=1)
        furthest = from_a.masked_fill(~negative, -torch.inf).argmax(dim=1)
        n = torch.where(farther.any(dim=1), nearest, furthest)
    values = F.relu(squared[a, p] - squared[a, n] + margin)  # one a pair
    return values.mean().to(_result_type(embeddings))


def lifted_structure_loss(
    embeddings: Tensor, labels: Tensor, margin: float = 1.0
) -> Tensor:
    """Lifted structured embedding, the smooth upper bound (Song et al. 2016).

    L = 1/(2|P|) Σ_(i,j)∈P [log(Σ_k exp(α - D_ik) + Σ_l exp(α - D_jl)) + D_ij]₊²

    P holds every pair of two images of one class, k and l run over the negatives of i
    and of j. The sum of each image is found once, so that nothing is larger than M × M.

    The margin α is in units of distance.

    Example:
        >>> x = torch.tensor([[0.0], [0.0], [1.0]])
        >>> lifted_structure_loss(x, torch.tensor([0, 0, 1]))  # log(1 + 1)² / 2
        tensor(0.2402)
    """
    same = _same_class(embeddings, labels)
    d = _distances(embeddings)
    repulsion = (margin - d).masked_fill(same, -torch.inf).logsumexp(dim=1)  # (M,)
    of_pairs = torch.logaddexp(repulsion[:, None], repulsion[None])  # (M, M)
    values = F.relu(of_pairs + d) ** 2
    # (i, j) and (j, i) have one value, so the mean over both is that over P.
    return values[_pairs(same)].mean().div(2).to(_result_type(embeddings))


def n_pairs_loss(
    embeddings: Tensor, labels: Tensor, l2_weight: float = 0.002
) -> Tensor:
    """Multi-class N-pair loss (Sohn 2016).

    L = 1/N Σ_i log(1 + Σ_j≠i exp(f_i·f_j⁺ - f_i·f_i⁺))
        + λ/4 · 1/N Σ_i (‖f_i‖² + ‖f_i⁺‖²)

    The paper keeps the embeddings small with an l2 term in place of normalising them.
    Its weight is a choice: λ = 0.002 and the quarter are those of TensorFlow's
    implementation.

    Args:
        embeddings, labels: row 2i the anchor and row 2i + 1 the positive of one class,
            no class twice; not normalised.
        l2_weight: λ.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> n_pairs_loss(x, torch.tensor([0, 0, 1, 1]), l2_weight=0.0)
        tensor(0.3133)
    """
    _same_class(embeddings, labels)
    x = embeddings.to(_result_type(embeddings))
    similarity = x[::2] @ x[1::2].T  # (N, N)
    target = torch.arange(len(similarity), device=x.device)
    squared_norms = x.square().sum(dim=1)  # (2N,)
    # log(1 + Σ exp(s_ij - s_ii)) is the cross-entropy of row i with class i; the mean
    # over the 2N rows is half the paper's mean over the N pairs.
    return F.cross_entropy(similarity, target) + l2_weight / 2 * squared_norms.mean()


def clustering_loss(embeddings: Tensor, labels: Tensor, gamma: float = 1.0) -> Tensor:
    """Clustering loss by facility location (Song et al. 2017).

    L = [max_S (F(X, S) + γ Δ(g(S), y)) - F̃(X, y)]₊
    F(X, S) = -Σ_i min_j∈S D_ij,   F̃(X, y) = Σ_k max_j∈k F(X_k, {j})

    S is a set of as many medoids as the batch has classes, g(S) sends each image to
    its nearest medoid, Δ = 1 - NMI with √(H(g) H(y)) below the bar. D is the plain
    distance, not squared, as in the paper. The maximum is searched for
    (``find_medoids``), not found for certain: the value is a lower bound of the
    formula. Which medoids they are has no gradient, and neither has Δ. F is a sum over
    the batch, so that γ weighs less in a larger one.

    γ is in units of distance.

    Example:
        >>> x = torch.tensor([[0.0], [2.0], [2.0], [4.0]])
        >>> clustering_loss(x, torch.tensor([0, 0, 1, 1]))  # -2 + 1 · Δ - (-4)
        tensor(2.6544)
    """
    _same_class(embeddings, labels)
    d = _distances(embeddings)
    fixed = d.detach().cpu().numpy()
    classes = np.unique(labels.cpu().numpy(), return_inverse=True)[1]
    medoids = find_medoids(fixed, classes, gamma)
    owner = cluster_assignments(fixed, medoids)
    oracle = np.empty_like(owner)  # the medoid of each image's own class
    for k in range(classes.max() + 1):
        members = np.flatnonzero(classes == k)
        inner = fixed[np.ix_(members, members)]
        oracle[members] = members[inner.sum(axis=0).argmin()]
    owner, oracle = (torch.from_numpy(o)[:, None].to(d.device) for o in (owner, oracle))
    gap = (d.gather(1, oracle) - d.gather(1, owner)).sum()  # F(X, S) - F̃(X, y)
    margin = gamma * (1 - agreement(fixed, classes, medoids))
    return F.relu(gap + margin).to(_result_type(embeddings))


def triplet_global_loss(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    margin: float = 0.01,
    mean_margin: float = 0.4,
    mean_weight: float = 0.8,
    global_weight: float = 1.0,
) -> Tensor:
    """Triplet and global loss (Kumar et al. 2016).

    L = 1/B Σ_i [1 - D(a,n) / (D(a,p) + m)]₊ + η (σ²⁺ + σ²⁻ + λ [μ⁺ - μ⁻ + t]₊)

    μ and σ² are mean and biased variance over the batch of D²/4. That quarter, the
    biased variance, t and λ also stand in a public implementation of the global term;
    the triplet term, m and η are as we read the paper, without a second source.

    Args:
        anchors: (B, D) embeddings.
        positives: (B, D) embeddings, row by row of the anchor's class.
        negatives: (B, D) embeddings, row by row of another class.
        margin: m, in units of distance.
        mean_margin: t, in units of squared distance over 4.
        mean_weight: λ.
        global_weight: η.

    Example:
        >>> a, n = torch.zeros(2, 1), 2 * torch.ones(2, 1)
        >>> triplet_global_loss(a, a, n, mean_margin=1.5)  # 0 + 0.8 · (0 - 1 + 1.5)
        tensor(0.4000)
    """
    d_p, d_n = distance(anchors, positives), distance(anchors, negatives)
    triplet = F.relu(1 - d_n / (d_p + margin)).mean()
    near, far = d_p**2 / 4, d_n**2 / 4
    gap = F.relu(near.mean() - far.mean() + mean_margin)
    variances = near.var(correction=0) + far.var(correction=0)
    return triplet + global_weight * (variances + mean_weight * gap)


def proxy_anchor_loss(
    embeddings: Tensor, labels: Tensor, proxies: Tensor, alpha: float = 32.0
) -> Tensor:
    """Proxy-Anchor loss (Kim et al. 2020), of pytorch-metric-learning.

    L = 1/|P⁺| Σ_p∈P⁺ log(1 + Σ_x of p's class exp(-α (s(x,p) - 0.1)))
        + 1/|P| Σ_p∈P log(1 + Σ_x of other classes exp(α (s(x,p) + 0.1)))

    P holds a proxy of each class, P⁺ those of the batch's classes; s is the cosine.

    The (F, D) proxies get a gradient too.

    Example:
        >>> x = torch.eye(2)  # log(1 + exp(-1 (1 - 0.1))) + log(1 + exp(1 (0 + 0.1)))
        >>> proxy_anchor_loss(x, torch.tensor([0, 1]), x, alpha=1.0)
        tensor(1.0856)
    """
    kind = _result_type(embeddings)
    # The library's own proxies, drawn at random, would be parameters of no optimiser.
    blank = dict(weight_init_func=torch.nn.init.zeros_)
    loss = library.ProxyAnchorLoss(*proxies.shape, alpha=alpha, **blank)
    given = embeddings.to(kind), labels
    return torch.func.functional_call(loss, {"proxies": proxies.to(kind)}, given)


def multi_similarity_loss(
    embeddings: Tensor, labels: Tensor, beta: float = 50.0
) -> Tensor:
    """Multi-Similarity loss and mining (Wang et al. 2019), of pytorch-metric-learning.

    L = 1/M Σ_i 1/α log(1 + Σ_p exp(-α (s_ip - λ)))
        + 1/β log(1 + Σ_n exp(β (s_in - λ)))

    s is the cosine, α = 2 and λ = 0.5, the library's values. Of the images of i's class
    p goes through those less similar to i than its most similar negative plus 0.1, and
    n through the negatives more similar than its least similar positive minus 0.1.

    Raises:
        ValueError: β is not positive.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> multi_similarity_loss(x, torch.tensor([0, 0, 1]))  # every pair is easy
        tensor(0.)
    """
    _same_class(embeddings, labels)
    if beta <= 0:
        raise ValueError(
            f"beta={beta}; expected a positive one, the loss divides by it"
        )
    x = embeddings.to(_result_type(embeddings))
    pairs = MultiSimilarityMiner()(x, labels)
    return library.MultiSimilarityLoss(beta=beta)(x, labels, pairs)


def _squared_distances(embeddings: Tensor) -> Tensor:
    """(M, M) D² in float64, with 0 for what is nothing but rounding.

    From the matrix of products, which is much faster than the differences. In float64:
    of unit vectors, rounding leaves a distance of about 1e-8 there, but one of about
    3e-4 in float32.
    """
    x = embeddings.double()
    norms = x.square().sum(dim=1)
    sums = norms[:, None] + norms[None]
    squared = sums - 2 * x @ x.T
    return torch.where(squared > 1e-14 * sums, squared, 0)


def _distances(embeddings: Tensor) -> Tensor:
    """(M, M) D in float64, with gradient 0 at D = 0, where the root has none."""
    squared = _squared_distances(embeddings)
    apart = squared > 0
    return torch.where(apart, torch.where(apart, squared, 1).sqrt(), 0)


def _same_class(embeddings: Tensor, labels: Tensor) -> Tensor:
    """(M, M) whether two rows share their class, once the batch has what it needs."""
    same = labels[:, None] == labels[None]
    if same.all() or same.sum() == len(labels):
        raise ValueError(
            f"{len(labels)} rows of {len(labels.unique())} classes; expected a batch "
            "with at least two classes, and two rows of at least one of them"
        )
    return same


def _pairs(same: Tensor) -> Tensor:
    """(M, M) the ordered pairs of two different rows of one class."""
    return same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)


def _result_type(embeddings: Tensor) -> torch.dtype:
    return torch.float64 if embeddings.dtype == torch.float64 else torch.float32
