"""Quadruplets for the losses of pytorch-metric-learning, which must be installed.

The library's miners return index tuples: anchors from the batch, partners from the
reference embeddings, which are the batch itself or a memory of any size. The search is
exact.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from qsel.gallery import Gallery
from qsel.hierarchy import Hierarchy, HierarchyError
from qsel.selection import Quadruplets, Rule, complete
from qsel.vectors import check_embeddings, check_indices

try:
    from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
    from pytorch_metric_learning.miners import BaseMiner
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "qsel.miner is for users of pytorch-metric-learning, which is not installed; "
        "pip install pytorch-metric-learning"
    ) from error


class QuadrupletMiner(BaseMiner):
    """A miner of quadruplets: anchor, positive, near negative P⁻, far negative N.

    It takes fine labels: ``miner(embeddings, labels)`` searches the batch, and
    ``miner(embeddings, labels, ref_emb, ref_labels)`` searches ``ref_emb``, for example
    the embeddings of the whole training set. An older embedding of the anchor in
    ``ref_emb`` counts as another sample.

    Samples that lack a partner are not used as anchors. After a call ``left_out``
    counts them and ``quadruplets`` holds the quadruplets.

    Args:
        coarse_of_fine: (F,) int64, the coarse class of each fine label from 0 on.
        method, generator, switches: as for ``select_quadruplets``.
        coarse_order: as for ``triplets``.
        distance: the loss's distance: LpDistance with p=2 (the default, which
            normalises) or CosineSimilarity, which ranks alike.

    Raises:
        HierarchyError: one coarse class only.
        ValueError: a bad method, switch or distance; in a call, labels or embeddings.

    Example:
        >>> distance = LpDistance(normalize_embeddings=False)
        >>> miner = QuadrupletMiner(torch.tensor([0, 0, 1]), distance=distance)
        >>> x, labels = torch.tensor([[0.0], [1], [3], [2]]), torch.tensor([0, 0, 1, 2])
        >>> [indices.tolist() for indices in miner(x, labels)]
        [[0, 1, 0, 1], [1, 0, 1, 0], [2, 2, 3, 3]]
    """

    def __init__(
        self,
        coarse_of_fine: Tensor | Sequence[int],
        method: str = "method2",
        generator: torch.Generator | None = None,
        coarse_order: bool = False,
        distance: LpDistance | CosineSimilarity | None = None,
        **switches: str,
    ):
        super().__init__(distance=distance)
        self.rule = Rule(method, **switches)
        self.generator = generator
        self.coarse_order = coarse_order
        coarse_of_fine = torch.as_tensor(coarse_of_fine)
        Hierarchy.from_labels(torch.arange(len(coarse_of_fine)), coarse_of_fine.cpu())
        if len(coarse_of_fine.unique()) < 2:
            raise HierarchyError(
                f"all {len(coarse_of_fine)} fine classes are of one coarse class, so "
                "there is no N; give at least two"
            )
        self.register_buffer("coarse_of_fine", coarse_of_fine, persistent=False)
        euclidean = isinstance(self.distance, LpDistance) and self.distance.p == 2
        if not euclidean and not isinstance(self.distance, CosineSimilarity):
            raise ValueError(
                f"distance={type(self.distance).__name__}; expected LpDistance with "
                "p=2 or CosineSimilarity, by which the nearest are sought"
            )
        self.quadruplets: Quadruplets | None = None
        self.left_out = 0

    def mine(
        self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Anchors (T,) among the embeddings, partners (T,) among ``ref_emb``."""
        hierarchy = Hierarchy.from_labels(ref_labels, self._coarse(ref_labels))
        self._coarse(labels)  # checks
        itself = ref_emb is embeddings
        # The labels of the references are sorted: they number the fine classes.
        known = torch.as_tensor(hierarchy.fine_names, device=labels.device)
        fine = torch.searchsorted(known, labels).clamp_max(len(known) - 1)
        counts = hierarchy.partners(fine, own=int(itself))
        usable = (counts > 0).all(0) & (known[fine] == labels)
        anchors = usable.nonzero().squeeze(1)
        self.left_out = len(labels) - len(anchors)
        self.quadruplets = guests = None
        if not itself:
            check_embeddings(embeddings)
            guests = self.distance.maybe_normalize(embeddings), fine[anchors]
        if not len(anchors):
            return anchors, anchors, anchors
        gallery = Gallery(self.distance.maybe_normalize(ref_emb), hierarchy.order)
        self.quadruplets = complete(
            hierarchy, gallery, anchors, self.rule, self.generator, guests
        )
        return triplets(*self.quadruplets.stack(), self.coarse_order)

    def _coarse(self, labels: Tensor) -> Tensor:
        n = len(self.coarse_of_fine)
        check_indices("labels", labels, n, f"coarse_of_fine has {n} fine classes")
        return self.coarse_of_fine.to(labels.device)[labels]


def triplets(
    reference: Tensor,
    positive_positive: Tensor,
    positive_negative: Tensor,
    negative: Tensor,
    coarse_order: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors, positives and negatives for the library's losses, from (B,) indices.

    (R, P⁺, P⁻) and (R, P⁺, N) agree with the fine labels, so every loss can use them,
    pair losses included: (2·B,) each. ``coarse_order`` adds (R, P⁻, N), the second
    hinge of equation (5), for triplet losses: (3·B,) each. A pair loss would both pull
    and push P⁻.

    Example:
        >>> images = torch.arange(8).view(4, 2)  # two R, two P⁺, two P⁻, two N
        >>> [indices.tolist() for indices in triplets(*images)]
        [[0, 1, 0, 1], [2, 3, 2, 3], [4, 5, 6, 7]]
    """
    three = [
        (reference, positive_positive, positive_negative),
        (reference, positive_positive, negative),
        (reference, positive_negative, negative),
    ]
    parts = zip(*three[: 2 + coarse_order], strict=True)
    return tuple(torch.cat(part) for part in parts)
