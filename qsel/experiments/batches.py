"""Which training images make up the steps of a row.

Every function takes the settings, the labels of the N training images, for each step
the (B,) references that it is due, and what returns the (N, D) embeddings of the
training set. It returns for each step (M,) int64 indices into the training set.
"""

import torch
from torch import Tensor

from qsel.experiments.config import Config
from qsel.hierarchy import Hierarchy
from qsel.selection import select_quadruplets

# Its inference tries every image as a medoid, so its cost grows with their cube; Song
# et al. use 128 images a step as well.
CLUSTERING_IMAGES = 128


def quadruplets(config, hierarchy, references, embeddings) -> list[Tensor]:
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


def any_images(config, hierarchy, references, embeddings) -> list[Tensor]:
    """For each step 4·B training images, drawn without a look at their classes."""
    n = len(hierarchy)
    return [torch.randperm(n)[: 4 * len(r)] for r in references]


def classes_by_images(config, hierarchy, references, embeddings) -> list[Tensor]:
    """For each step images of some classes, several of each."""
    return [_of_classes(config, hierarchy, 4 * len(r)) for r in references]


def classes_for_clustering(config, hierarchy, references, embeddings) -> list[Tensor]:
    """The same, of no more images than its search can try."""
    most = [min(4 * len(r), CLUSTERING_IMAGES) for r in references]
    return [_of_classes(config, hierarchy, images) for images in most]


def pairs(config, hierarchy, references, embeddings) -> list[Tensor]:
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


def triplets(config, hierarchy, references, embeddings) -> list[Tensor]:
    """An anchor, one of its fine class, one of another: (3·B,), first all anchors."""
    found = []
    for r in references:
        u, fine = torch.rand(2, len(r), dtype=torch.float64), hierarchy.fine[r]
        positive = hierarchy.draw_positive_positive(fine, hierarchy.place[r], u[0])
        negative = hierarchy.draw_other_fine(fine, u[1])
        found.append(torch.cat([r, positive, negative]))
    return found
