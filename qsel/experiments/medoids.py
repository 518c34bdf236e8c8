"""Facility location for the clustering loss: which medoids stand for a batch.

Plain numpy on one batch's (M, M) distances, its classes (M,) from 0 to K - 1, and
medoids, which are rows of the batch; nothing here has a gradient.
"""

import numpy as np

REFINEMENT_ROUNDS = 5  # sweeps over the medoids at most; most batches need one or two


def find_medoids(distances: np.ndarray, classes: np.ndarray, gamma: float) -> list[int]:
    """Search the medoids S of the maximum in ``clustering_loss``.

    First greedily, one medoid after the other (Algorithm 1 of Song et al. 2017), then
    each is swapped for the member of its cluster that gives the highest score, as long
    as that is higher (Algorithm 2). A swap is judged by the score of the whole batch,
    so that no step lowers it. There are K medoids, all different.

    Example:
        >>> x = np.array([0.0, 1.0, 2.0, 9.0, 9.0])
        >>> find_medoids(abs(x[:, None] - x), np.array([0, 0, 0, 1, 1]), gamma=0.0)
        [1, 3]
    """
    medoids: list[int] = []
    everyone = np.arange(len(distances))
    for _ in range(classes.max() + 1):
        free = np.setdiff1d(everyone, medoids)
        scores = _scores(distances, classes, gamma, medoids, free)
        medoids.append(int(free[scores.argmax()]))
    for _ in range(REFINEMENT_ROUNDS):
        before = list(medoids)
        for k, medoid in enumerate(medoids):
            rest = medoids[:k] + medoids[k + 1 :]
            members = np.flatnonzero(cluster_assignments(distances, medoids) == medoid)
            # The medoid itself comes first: it stays unless another is truly better.
            candidates = np.r_[medoid, np.setdiff1d(members, medoids)]
            scores = _scores(distances, classes, gamma, rest, candidates)
            medoids[k] = int(candidates[scores.argmax()])
        if medoids == before:
            break
    return medoids


def cluster_assignments(distances: np.ndarray, medoids: list[int]) -> np.ndarray:
    """The nearest medoid of each image, g(S); of equally near ones the lowest row.

    Example:
        >>> x = np.array([0.0, 1.0, 2.0])
        >>> cluster_assignments(abs(x[:, None] - x), [2, 0])
        array([0, 0, 2])
    """
    ordered = np.sort(medoids)
    return ordered[distances[:, ordered].argmin(axis=1)]


def _scores(distances, classes, gamma, medoids, candidates) -> np.ndarray:
    """F(X, S) + γ Δ(g(S), y) of S = medoids + one candidate, for each candidate."""
    size, clusters = len(distances), classes.max() + 1
    near, owner = np.full(size, np.inf), np.full(size, size)
    if medoids:
        owner = cluster_assignments(distances, medoids)
        near = distances[np.arange(size), owner]
    to_new = distances[candidates]  # (C, M)
    takes = to_new < near
    takes |= (to_new == near) & (candidates[:, None] < owner)
    slot = np.zeros(size + 1, dtype=np.int64)  # medoid -> its column of the table
    slot[medoids] = np.arange(len(medoids))
    column = np.where(takes, len(medoids), slot[owner])  # (C, M)
    cell = (np.arange(len(candidates))[:, None] * clusters + column) * clusters
    table = np.bincount(
        (cell + classes).ravel(), minlength=len(candidates) * clusters**2
    ).reshape(len(candidates), clusters, clusters)  # cluster × class
    facility = -np.minimum(to_new, near).sum(axis=1)
    return facility + gamma * (1 - _nmi_of_tables(table))


def agreement(distances: np.ndarray, classes: np.ndarray, medoids: list[int]) -> float:
    """NMI of the clusters g(S) and the classes, with √(H(g) H(y)) below the bar.

    From 0 to 1; 0 where there is one cluster or one class.

    Example:
        >>> x = np.array([0.0, 1.0, 9.0])
        >>> agreement(abs(x[:, None] - x), np.array([0, 0, 1]), [1, 2])
        1.0
    """
    table = np.zeros((len(distances), classes.max() + 1), dtype=np.int64)
    np.add.at(table, (cluster_assignments(distances, medoids), classes), 1)
    return float(_nmi_of_tables(table[None])[0])


def _nmi_of_tables(tables: np.ndarray) -> np.ndarray:
    """NMI of (C, clusters, classes) tables of counts, 0 where an entropy is 0."""
    size = int(tables[0].sum())
    counts = np.arange(size + 1)
    x_log_x = counts * np.log(np.maximum(counts, 1))
    joint, of_clusters, of_classes = (
        x_log_x[size] - x_log_x[n].reshape(len(tables), -1).sum(axis=1)
        for n in (tables, tables.sum(axis=2), tables.sum(axis=1))
    )  # size · H
    scale = np.sqrt(of_clusters * of_classes)
    information = of_clusters + of_classes - joint
    return np.divide(information, scale, out=np.zeros_like(scale), where=scale > 0)
