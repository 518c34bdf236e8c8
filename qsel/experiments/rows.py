"""Table 1 as data: for each row an objective, and the batches it is trained on.

All rows share the data, the trunk, the heads, the optimiser, the steps of an epoch and
the budget of 4·B images a step, B being the references of a quadruplet row. What a row
brings of its own is here: which images make up a step, and what is asked of their
embeddings. Rows that need fewer images for a step by their own rule take fewer: pairs
two of each class, triplets three for each reference, clustering 128. Classification
alone has the whole budget: 4·B images, each a reference of equation (4).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from qsel import losses
from qsel.experiments import rivals, row_names, variants
from qsel.experiments.batches import (
    any_images,
    classes_by_images,
    classes_for_clustering,
    pairs,
    quadruplets,
    triplets,
)
from qsel.experiments.config import Config
from qsel.hierarchy import Hierarchy

# The parameters of the class heads.
HEADS = ("coarse.weight", "coarse.bias", "fine.weight", "fine.bias")


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        images: (M,) indices into the training set, in the order that the row's
            objective expects.
        fine, coarse: (M,) int64 labels of these images.
        embeddings: (M, D) with gradient.
        coarse_scores, fine_scores: (M, C) and (M, F), of the class heads.
        proxies: (F, D) the fine head's class weights, with gradient.
    """

    images: Tensor
    fine: Tensor
    coarse: Tensor
    embeddings: Tensor
    coarse_scores: Tensor
    fine_scores: Tensor
    proxies: Tensor


@dataclass(frozen=True)
class Row:
    """One row of Table 1.

    Attributes:
        title: the row's name in the paper's table.
        draw: chooses the images of some steps, see ``draw``.
        objective: a ``Batch`` and the settings → named scalars: "loss", which is
            minimised, and what else the curve should show.
        margin: what ``config.margin`` sets, an argument of the row's loss in
            ``qsel.experiments.rivals``; none where the row has no such setting.
        cosine: the objective sees directions alone, or inner products.
        heads: the parameters of the class heads that the objective trains.
    """

    title: str
    draw: Callable[..., list[Tensor]]
    objective: Callable[[Batch, Config], dict[str, Tensor]]
    margin: str | None = None
    cosine: bool = False
    heads: tuple[str, ...] = ()


def comparable(embeddings: Tensor, method: str) -> Tensor:
    """(N, D) embeddings whose distances are what the row's objective compares.

    Of unit length for rows that compare by cosine, else unchanged.

    Example:
        >>> comparable(torch.tensor([[3.0, 4.0]]), "n_pairs")
        tensor([[0.6000, 0.8000]])
    """
    if method in ROWS and ROWS[method].cosine:
        return torch.nn.functional.normalize(embeddings, dim=1)
    return embeddings


def draw(
    config: Config,
    hierarchy: Hierarchy,
    references: Sequence[Tensor],
    embeddings: Callable[[], Tensor],
) -> list[Tensor]:
    """The images of some steps of ``config.method``'s row.

    Args:
        config: ``method`` and what it reads.
        hierarchy: labels of the N training images.
        references: for each step the (B,) int64 references it is due.
        embeddings: returns the (N, D) embeddings of the training set; called only by
            rows that look at them.

    Returns:
        For each step (M,) int64 indices into the training set.

    Raises:
        ValueError: ``config.margin`` is set for a row that has none of its own.

    Example:
        >>> labels = Hierarchy.from_names(list("aabbcc"), list("xxxxyy"))
        >>> steps = [torch.tensor([0, 2])]
        >>> chosen = draw(Config(method="random"), labels, steps, lambda: None)
        >>> len(chosen[0])  # R, P⁺, P⁻ and N of two references
        8
    """
    row = ROWS[config.method]
    if config.margin is not None and row.margin is None:
        raise ValueError(
            f"margin={config.margin}: {config.method} has no margin or scale of its "
            "own to set; leave it none"
        )
    return row.draw(config, hierarchy, references, embeddings)


# --- quadruplets -----------------------------------------------------------------


def _combined(batch: Batch, config: Config) -> dict[str, Tensor]:
    """Equation (6), with (4) for the references."""
    b = len(batch.images) // 4
    four = batch.embeddings.split(b)  # R, P⁺, P⁻, N, each (B, D)
    classification = losses.classification_loss(
        batch.coarse_scores[:b],
        batch.fine_scores[:b],
        batch.coarse[:b],
        batch.fine[:b],
        config.coarse_weight,
        config.fine_weight,
        reduction="none",
    )  # (B,)
    margins = (config.margin1, config.margin2)
    loss = losses.combined_loss(
        *four,
        classification,
        *margins,
        config.global_weight,
        config.first_margin,
        config.reduction,
        config.variance,
    )
    with torch.no_grad():
        hinges = losses.joint_loss(
            *four, 0.0, *margins, config.first_margin, reduction="none"
        )  # (B,)
        whole = losses.global_loss(*four, *margins, variance=config.variance)
    return {
        "loss": loss,
        "distance": hinges.mean(),
        "classification": classification.mean(),
        "global": whole,
        "zero": (hinges == 0).float().mean(),
    }


def _without_coarse(batch: Batch, config: Config) -> dict[str, Tensor]:
    """Equation (6) with N for P⁻, m₂ = 0 and the fine head alone.

    What compares P⁻ with N is 0 then; σ²(N) counts twice.
    """
    r, p, n = batch.embeddings.split(b := len(batch.images) // 3)
    scores, fine = batch.fine_scores[:b].float(), batch.fine[:b]
    classification = config.fine_weight * F.cross_entropy(
        scores, fine, reduction="none"
    )
    margins = (config.margin1, 0.0, config.global_weight)
    loss = losses.combined_loss(r, p, n, n, classification, *margins)
    return {"loss": loss, "classification": classification.mean()}


# --- the other objectives of the table -------------------------------------------


def _rival(
    title: str,
    draw: Callable[..., list[Tensor]],
    loss: Callable[..., Tensor],
    margin: str,
    inputs: Callable[[Batch], tuple[Tensor, ...]] = lambda b: (b.embeddings, b.fine),
    **own,
) -> Row:
    """A row of ``qsel.experiments.rivals``; it reads ``config.margin`` alone."""

    def objective(batch: Batch, config: Config) -> dict[str, Tensor]:
        given = {} if config.margin is None else {margin: config.margin}
        return {"loss": loss(*inputs(batch), **given)}

    return Row(title, draw, objective, margin, **own)


# --- no distance at all ----------------------------------------------------------


def _classification(batch: Batch, config: Config) -> dict[str, Tensor]:
    """Equation (4), every image of the batch a reference."""
    loss = losses.classification_loss(
        *(batch.coarse_scores, batch.fine_scores, batch.coarse, batch.fine),
        *(config.coarse_weight, config.fine_weight, config.reduction),
    )
    return {"loss": loss}


ROWS = {
    "semi_hard": _rival(
        "Semi-Hard", classes_by_images, rivals.semi_hard_loss, "margin"
    ),
    "lifted_structure": _rival(
        "Lifted Structure",
        classes_by_images,
        rivals.lifted_structure_loss,
        "margin",
    ),
    "n_pairs": _rival("N-Pairs", pairs, rivals.n_pairs_loss, "l2_weight", cosine=True),
    "clustering": _rival(
        "Clustering", classes_for_clustering, rivals.clustering_loss, "gamma"
    ),
    "triplet_global": _rival(
        "Triplet + Global",
        triplets,
        rivals.triplet_global_loss,
        "mean_margin",
        lambda b: b.embeddings.split(len(b.images) // 3),
    ),
    # Not in the paper: two losses of the years after it, and equation (4) by itself.
    "proxy_anchor": _rival(
        "Proxy-Anchor",
        classes_by_images,
        rivals.proxy_anchor_loss,
        "alpha",
        lambda b: (b.embeddings, b.fine, b.proxies),
        cosine=True,
        heads=("fine.weight",),  # the proxies
    ),
    "multi_similarity": _rival(
        "Multi-Similarity",
        classes_by_images,
        rivals.multi_similarity_loss,
        "beta",
        cosine=True,
    ),
    "classification": Row(
        "Classification alone (equation 4)", any_images, _classification, heads=HEADS
    ),
}
ROWS |= {
    name: Row(title, quadruplets, _combined, heads=HEADS)
    for name, title in {
        "random": "Random Quadruplet Selection",
        # Not in the paper: the control that decides its point.
        "hardest_negative": "Hardest negative, random positives",
        "method1": "Proposed Method 1",
        "method2": "Proposed Method 2",
    }.items()
}
# Not in the paper either: without its coarse level, and with other positives.
ROWS["fine_only"] = Row(
    "Method 2 with fine labels alone",
    variants.DRAWS["fine_only"],
    _without_coarse,
    heads=("fine.weight", "fine.bias"),
)
ROWS |= {
    name: Row(title, variants.DRAWS[name], _combined, heads=HEADS)
    for name, title in {
        "hard_sibling": "Hardest negative, nearest P⁻",
        "easy_positive": "Hardest negative, nearest P⁺",
        "nearest_all": "Hardest negative, nearest P⁺ and P⁻",
    }.items()
}
QUADRUPLETS = row_names.QUADRUPLETS
# What there is without any training, measured by the same protocol.
UNTRAINED = {"raw_pixels": "Raw pixels", "start": "Trunk before training"}
TITLES = UNTRAINED | {name: row.title for name, row in ROWS.items()}


def of_table(run: Collection[str] = ()) -> list[str]:
    """The rows that a table shows: all that it runs by default, and others once run.

    Example:
        >>> "proxy_anchor" in of_table(), "proxy_anchor" in of_table({"proxy_anchor"})
        (False, True)
    """
    return [name for name in TITLES if name in row_names.BY_DEFAULT or name in run]
