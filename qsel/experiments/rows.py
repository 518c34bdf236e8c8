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
from torch import Tensor

from qsel import losses
from qsel.experiments import rivals, row_names
from qsel.experiments.config import Config
from qsel.hierarchy import Hierarchy
from qsel.selection import select_quadruplets

# Its cost grows with their cube; Song et al. use 128 images a step as well.
CLUSTERING_IMAGES = 128
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


def loss_at_chance(config: Config, hierarchy: Hierarchy) -> float:
    """The row's loss for a network that knows nothing; the random stream stays.

    Of one batch drawn and embedded as random unit vectors, with equal class scores and
    random class weights. The arguments are those of ``draw``.

    Example:
        >>> labels = Hierarchy.from_names(list("aabbcc"), list("xxxxyy"))
        >>> round(loss_at_chance(Config(method="classification"), labels), 4)
        0.3301
    """
    c, f = len(hierarchy.coarse_names), len(hierarchy.fine_names)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(config.seed)
        usable, d = hierarchy.references(), config.embedding_dim
        due = usable[torch.randperm(len(usable))[: config.batch]]
        x = torch.nn.functional.normalize(torch.randn(len(hierarchy), d), dim=1)
        (images,) = draw(config, hierarchy, [due], lambda: x)
        labels = hierarchy.fine[images], hierarchy.coarse[images]
        scores = (torch.zeros(len(images), classes) for classes in (c, f))
        batch = Batch(images, *labels, x[images], *scores, torch.randn(f, d))
        return ROWS[config.method].objective(batch, config)["loss"].item()


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


def _quadruplets(config, hierarchy, references, embeddings) -> list[Tensor]:
    """R, P⁺, P⁻, N of each reference, (4·B,): first all R, then all P⁺, and so on."""
    chosen = select_quadruplets(
        None if config.method == "random" else embeddings(),
        hierarchy.fine,
        hierarchy.coarse,
        torch.cat(list(references)),
        config.method,
        negative=config.negative,
        siblings=config.siblings,
        fallback=config.fallback,
    )
    parts = chosen.stack().cpu().split([len(r) for r in references], dim=1)
    return [part.flatten() for part in parts]


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


# --- the other objectives of the table -------------------------------------------


def _classes_by_images(config, hierarchy, references, embeddings) -> list[Tensor]:
    """For each step images of some classes, several of each."""
    return [_of_classes(config, hierarchy, 4 * len(r)) for r in references]


def _classes_for_clustering(config, hierarchy, references, embeddings) -> list[Tensor]:
    most = [min(4 * len(r), CLUSTERING_IMAGES) for r in references]
    return [_of_classes(config, hierarchy, images) for images in most]


def _pairs(config, hierarchy, references, embeddings) -> list[Tensor]:
    """For each step pairs of classes that all differ, as many as there are classes."""
    return [_of_classes(config, hierarchy, 4 * len(r), each=2) for r in references]


def _of_classes(
    config: Config, hierarchy: Hierarchy, images: int, each: int | None = None
) -> Tensor:
    """Indices of about ``images`` images, ``each`` of a class, class after class.

    Where the classes are too few for that, and ``each`` is left open, more of each.
    """
    members = hierarchy.members()
    usable = [m for m in members if len(m) > 1]
    classes = min(len(usable), max(2, images // (each or config.images_per_class)))
    each = each or max(2, images // classes)
    chosen = torch.randperm(len(usable))[:classes].tolist()
    return torch.cat([usable[c][torch.randperm(len(usable[c]))[:each]] for c in chosen])


def _triplets(config, hierarchy, references, embeddings) -> list[Tensor]:
    """An anchor, one of its fine class, one of another: (3·B,), first all anchors."""
    found = []
    for r in references:
        u, fine = torch.rand(2, len(r), dtype=torch.float64), hierarchy.fine[r]
        positive = hierarchy.draw_positive_positive(fine, hierarchy.place[r], u[0])
        negative = hierarchy.draw_other_fine(fine, u[1])
        found.append(torch.cat([r, positive, negative]))
    return found


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


def _any_images(config, hierarchy, references, embeddings) -> list[Tensor]:
    """For each step 4·B training images, drawn without a look at their classes."""
    n = len(hierarchy)
    return [torch.randperm(n)[: 4 * len(r)] for r in references]


def _classification(batch: Batch, config: Config) -> dict[str, Tensor]:
    """Equation (4), every image of the batch a reference."""
    loss = losses.classification_loss(
        *(batch.coarse_scores, batch.fine_scores, batch.coarse, batch.fine),
        *(config.coarse_weight, config.fine_weight, config.reduction),
    )
    return {"loss": loss}


ROWS = {
    "semi_hard": _rival(
        "Semi-Hard", _classes_by_images, rivals.semi_hard_loss, "margin"
    ),
    "lifted_structure": _rival(
        "Lifted Structure", _classes_by_images, rivals.lifted_structure_loss, "margin"
    ),
    "n_pairs": _rival("N-Pairs", _pairs, rivals.n_pairs_loss, "l2_weight", cosine=True),
    "clustering": _rival(
        "Clustering", _classes_for_clustering, rivals.clustering_loss, "gamma"
    ),
    "triplet_global": _rival(
        "Triplet + Global",
        _triplets,
        rivals.triplet_global_loss,
        "mean_margin",
        lambda b: b.embeddings.split(len(b.images) // 3),
    ),
    # Not in the paper: two losses of the years after it, and equation (4) by itself.
    "proxy_anchor": _rival(
        "Proxy-Anchor",
        _classes_by_images,
        rivals.proxy_anchor_loss,
        "alpha",
        lambda b: (b.embeddings, b.fine, b.proxies),
        cosine=True,
        heads=("fine.weight",),  # the proxies
    ),
    "multi_similarity": _rival(
        "Multi-Similarity",
        _classes_by_images,
        rivals.multi_similarity_loss,
        "beta",
        cosine=True,
    ),
    "classification": Row(
        "Classification alone (equation 4)", _any_images, _classification, heads=HEADS
    ),
}
ROWS |= {
    name: Row(title, _quadruplets, _combined, heads=HEADS)
    for name, title in {
        "random": "Random Quadruplet Selection",
        # Not in the paper: the control that decides its point.
        "hardest_negative": "Hardest negative, random positives",
        "method1": "Proposed Method 1",
        "method2": "Proposed Method 2",
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
