"""A selector that lives beside a training loop and keeps its gallery ready.

``select_quadruplets`` prepares the whole set for every call. A selector prepares it
once, and after a step only the rows that the step has changed.
"""

import torch
from torch import Tensor

from qsel.distributed import Shards
from qsel.hierarchy import ClassIndex, HierarchyError
from qsel.neighbors import Gallery
from qsel.selection import Quadruplets, Rule, beside, complete


class QuadrupletSelector:
    """Quadruplets from a labelled set whose embeddings change.

    Every answer is that of ``select_quadruplets`` on the embeddings of the moment.

    Args:
        fine: (N,) integer fine labels; any numbers.
        coarse: (N,) integer coarse labels; any numbers.
        embeddings: (N, D) floating point, on any device; or later, by ``refresh``.
        method: "random", "method1", "method2" or "hardest_negative".
        generator: a CPU generator for what is drawn at random; by default torch's own.
        hold: keep a prepared copy of all rows, for many small selections. Without it
            large galleries are prepared at every selection, in parts.
        switches: ``negative``, ``siblings`` and ``fallback``, see ``qsel.selection``.

    Raises:
        HierarchyError: labels that are no two levels, or one coarse class only.
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
        self.classes = ClassIndex(fine, coarse)
        if len(self.classes.coarse_labels) < 2:
            raise HierarchyError(
                f"only one coarse class, {self.classes.coarse_label(0)}: no sample has "
                "a negative of another coarse class; give at least two"
            )
        self.generator = generator
        self.hold = hold
        self.gallery: Gallery | None = None
        if embeddings is not None:
            self.refresh(embeddings)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def references(self) -> Tensor:
        """The samples that can be a reference, in order: int64, on the CPU."""
        everyone = torch.arange(len(self), device=self.classes.fine.device)
        return everyone[self.classes.usable(everyone)].cpu()

    def refresh(self, embeddings: Tensor) -> None:
        """Replace all embeddings (N, D) by a copy of these; the device may change.

        Raises:
            ValueError: they are not finite floating point of shape (N, D).
        """
        classes = beside(embeddings, self.classes)
        if isinstance(embeddings, Tensor):
            embeddings = embeddings.detach().clone()  # updates are ours alone
        self.gallery = Gallery(embeddings, classes.order, self.hold)
        self.classes = classes

    def update(self, samples: Tensor, embeddings: Tensor) -> None:
        """Replace the embeddings of some samples, as after a step.

        Args:
            samples: (B,) int64, each at most once.
            embeddings: (B, D) floating point, finite.

        Raises:
            ValueError: they do not fit, or there is nothing to replace yet.
        """
        if self.gallery is None:
            raise ValueError(
                f"an update of {len(samples)} samples, but the selector has no "
                "embeddings yet; call refresh with all of them first"
            )
        self.gallery.update(samples, embeddings)

    def select(self, references: Tensor) -> Quadruplets:
        """Complete each reference (B,) to a quadruplet.

        Raises:
            HierarchyError: a reference without P⁺, P⁻ or N; its class is named.
            ValueError: an index out of range, or no embeddings yet.
        """
        if self.gallery is None and self.rule.method != "random":
            raise ValueError(
                f"method={self.rule.method!r} needs embeddings, but the selector has "
                "none yet; call refresh with all of them first"
            )
        shards = None if self.gallery is None else Shards(self.gallery)
        return complete(self.classes, shards, references, self.rule, self.generator)
