"""A selector for training loops that keeps its gallery prepared.

``select_quadruplets`` prepares the whole set in every call. A selector prepares it
once, and after a step only the rows that have changed.
"""

import torch
from torch import Tensor

from qsel.gallery import Gallery
from qsel.hierarchy import Hierarchy
from qsel.selection import Quadruplets, Rule, complete, hierarchy_on_device_of
from qsel.vectors import check_indices, describe


class QuadrupletSelector:
    """Quadruplets from a labelled set whose embeddings change.

    It returns what ``select_quadruplets`` returns for the current embeddings.

    Args:
        fine, coarse, method, generator, switches: as for ``select_quadruplets``.
        embeddings: (N, D) floating point; ``refresh`` can set them later.
        hold: keep a prepared copy of all rows, for many small selections. Otherwise
            large galleries are prepared in parts at every selection.

    Attributes:
        references: int64 on the CPU, the samples that can be a reference, in order.

    Raises:
        HierarchyError: labels that are no two-level hierarchy or allow no reference.
        ValueError: an unknown method or switch, or embeddings that do not fit.

    Example:
        >>> fine, coarse = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 0, 1])
        >>> points = torch.tensor([[0.0], [1.0], [3.0], [2.0]])
        >>> selector = QuadrupletSelector(fine, coarse, points)
        >>> selector.select(selector.references).stack().tolist()
        [[0, 1], [1, 0], [2, 2], [3, 3]]
    """

    def __init__(
        self,
        fine: Tensor,
        coarse: Tensor,
        embeddings: Tensor | None = None,
        method: str = "method2",
        generator: torch.Generator | None = None,
        hold: bool = True,
        **switches: str,
    ):
        self.rule = Rule(method, **switches)
        self.hierarchy = Hierarchy.from_labels(fine, coarse)
        self.references = self.hierarchy.references().cpu()
        self.generator = generator
        self.hold = hold
        self.gallery: Gallery | None = None
        if embeddings is not None:
            self.refresh(embeddings)

    def __len__(self) -> int:
        return len(self.hierarchy)

    def refresh(self, embeddings: Tensor) -> None:
        """Replace all embeddings (N, D) by a copy of these; the device may change."""
        hierarchy = hierarchy_on_device_of(embeddings, self.hierarchy)
        if isinstance(embeddings, Tensor):
            embeddings = embeddings.detach().clone()  # keeps the caller's unchanged
        self.gallery = Gallery(embeddings, hierarchy.order, self.hold)
        self.hierarchy = hierarchy

    def update(self, samples: Tensor, embeddings: Tensor) -> None:
        """Replace the embeddings (B, D) of samples (B,), each given at most once.

        Both are on the gallery's device; the new rows are cast to its dtype.

        Raises:
            ValueError: they do not fit, or no embeddings are set yet.
        """
        if self.gallery is None:
            raise ValueError(
                f"an update of {len(samples)} samples, but the selector has no "
                "embeddings yet; call refresh with all of them first"
            )
        _check_update(self.gallery.embeddings, samples, embeddings)
        now = embeddings.detach().to(self.gallery.embeddings.dtype)
        self.gallery.update(samples, now)

    def select(self, references: Tensor) -> Quadruplets:
        """Complete each reference (B,) to a quadruplet, as ``select_quadruplets``.

        Raises:
            ValueError: no embeddings are set yet, or a reference lacks a partner.
        """
        own = self.rule, self.generator
        return complete(self.hierarchy, self.gallery, references, *own)


def _check_update(gallery: Tensor, samples: Tensor, embeddings: Tensor) -> None:
    for name, given in (("samples", samples), ("embeddings", embeddings)):
        if not isinstance(given, Tensor) or given.device != gallery.device:
            where = given.device if isinstance(given, Tensor) else "no device"
            raise ValueError(
                f"{name} are a {type(given).__name__} on {where}; expected a torch "
                f"tensor on {gallery.device}, where the gallery is"
            )
    if samples.ndim != 1 or samples.dtype != torch.int64 or not len(samples):
        raise ValueError(
            f"samples are {describe(samples)}; expected int64 indices of shape (B,) "
            "with B of at least 1"
        )
    shape = len(samples), gallery.shape[1]
    if not embeddings.is_floating_point() or embeddings.shape != shape:
        raise ValueError(
            f"embeddings are {describe(embeddings)}; expected floating point of shape "
            f"{shape}, one row for each sample"
        )
    check_indices("samples", samples, len(gallery), f"the gallery has {len(gallery)}")
    distinct, count = samples.unique(return_counts=True)
    if len(distinct) < len(samples):
        raise ValueError(
            f"sample {int(distinct[count > 1][0])} is given twice; keep one row of "
            "each sample"
        )
