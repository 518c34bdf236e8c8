"""Metrics of an embedding on unseen classes: Recall@K, NMI, MAP@R.

All three measure whether images of one fine class lie together. They take embeddings
(N, D), floating point, and integer labels (N,), and return fractions from 0 to 1. A
query is excluded from its neighbours by its index. Embeddings, labels or K that do not
fit raise ValueError.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from qsel.search import nearest_others
from qsel.vectors import check_embeddings, describe

KS = (1, 2, 4, 8)  # the columns of the paper's Table 1


def recall_at_k(
    embeddings: Tensor, labels: Tensor, ks: Sequence[int] = KS
) -> dict[int, float]:
    """Recall@K: the share of samples with one of their class among the K nearest.

    R@K = (1/N) Σ_i 1[some of the K nearest others of i shares its label] (§4), by K.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [0.3], [5.0]])
        >>> recall_at_k(x, torch.tensor([0, 1, 0, 1]), ks=(1, 2))
        {1: 0.0, 2: 0.75}
    """
    _check_labels(embeddings, labels)
    _check_ks(ks)
    return _recall(_same_class_neighbors(embeddings, labels, max(ks)), ks)


def map_at_r(embeddings: Tensor, labels: Tensor) -> float:
    """MAP@R: mean average precision over each sample's R nearest others.

    MAP@R = mean over samples of (1/R) Σ_{i=1..R} P(i) · 1[the i-th is of the class],
    with R the number of other samples of the class and P(i) the precision among the i
    nearest (Musgrave et al. 2020). Samples alone in their class are left out.

    Example:
        >>> map_at_r(torch.tensor([[0.0], [0.1], [9.0]]), torch.tensor([0, 0, 1]))
        1.0
    """
    return retrieval(embeddings, labels, ks=(1,))["MAP@R"]


def retrieval(
    embeddings: Tensor, labels: Tensor, ks: Sequence[int] = KS
) -> dict[str, float]:
    """Recall@K and MAP@R from one search: "R@K" for each K, and "MAP@R".

    Raises:
        ValueError: as ``recall_at_k`` and ``map_at_r``.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
        >>> retrieval(x, torch.tensor([0, 0, 1, 1]), ks=(1,))
        {'R@1': 1.0, 'MAP@R': 1.0}
    """
    _check_labels(embeddings, labels)
    _check_ks(ks)
    _, dense, sizes = labels.unique(return_inverse=True, return_counts=True)
    r = sizes[dense].to(embeddings.device) - 1  # (N,) others of the sample's class
    if not r.any():
        raise ValueError(
            f"all {len(labels)} samples are alone in their class; MAP@R needs a class "
            "of two"
        )
    hit = _same_class_neighbors(embeddings, labels, max(*ks, int(r.max())))
    found = {f"R@{k}": share for k, share in _recall(hit, ks).items()}
    hit = hit[:, : int(r.max())]
    rank = torch.arange(1, hit.shape[1] + 1, device=hit.device)  # (R,)
    right = hit.double() * (rank <= r[:, None])  # (N, R)
    average = (right.cumsum(1) / rank * right).sum(1) / r.clamp_min(1)  # (N,)
    return found | {"MAP@R": average[r > 0].mean().item()}


def nmi(embeddings: Tensor, labels: Tensor, seed: int = 0) -> float:
    """NMI between the labels and k-means clusters, k the number of classes.

    NMI = 2 I(labels; clusters) / (H(labels) + H(clusters)) (the arithmetic mean).
    It depends on the seed of k-means++ (one start), so report the spread over several.
    The scale of the embeddings does not matter.

    Example:
        >>> nmi(torch.tensor([[0.0], [0.1], [9.0], [9.1]]), torch.tensor([0, 0, 1, 1]))
        1.0
    """
    largest = _check_labels(embeddings, labels)
    labels = labels.cpu()
    k_means = KMeans(len(labels.unique()), n_init=1, random_state=seed)
    points = embeddings.detach().cpu()
    points = (points if points.dtype == torch.float64 else points.float()).numpy()
    if not 2**-30 < largest < 2**30:  # k-means squares them: too large or small
        points = np.ldexp(points, -math.frexp(largest)[1])  # by a power of two: exact
    clusters = k_means.fit_predict(points)
    return float(normalized_mutual_info_score(labels.numpy(), clusters))


def _same_class_neighbors(embeddings: Tensor, labels: Tensor, k: int) -> Tensor:
    """(N, k) bool: which of the k nearest others share the sample's label."""
    labels = labels.to(embeddings.device)
    return labels[nearest_others(embeddings, k)] == labels[:, None]


def _recall(hit: Tensor, ks: Sequence[int]) -> dict[int, float]:
    return {k: hit[:, :k].any(1).double().mean().item() for k in ks}


def _check_ks(ks: Sequence[int]) -> None:
    if not ks or min(ks) < 1:
        raise ValueError(f"ks={tuple(ks)}; expected at least one K, from 1 to N - 1")


def _check_labels(embeddings: Tensor, labels: Tensor) -> float:
    """Refuse labels that do not fit; returns the largest value of the embeddings."""
    largest = check_embeddings(embeddings)
    tensor, shape = isinstance(labels, Tensor), embeddings.shape[:1]
    if not tensor or labels.shape != shape or labels.is_floating_point():
        what = describe(labels) if tensor else f"a {describe(labels)}"
        raise ValueError(
            f"labels are {what}; expected integers of shape {tuple(shape)} in a torch "
            "tensor, one for each embedding"
        )
    return largest
