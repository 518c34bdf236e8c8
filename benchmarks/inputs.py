"""What is measured on: labels of real sizes, embeddings drawn from a fixed seed."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from qsel.data.car_classes import car_classes
from qsel.hierarchy import Hierarchy

KINDS = ("clustered", "random")


@dataclass(frozen=True, eq=False)
class Inputs:
    """A labelled set and the samples that are asked about.

    Attributes:
        embeddings: (N, D) float32, of unit length.
        fine, coarse: (N,) int64.
        references: (B,) int64.
    """

    embeddings: Tensor
    fine: Tensor
    coarse: Tensor
    references: Tensor

    def to(self, device: str) -> "Inputs":
        """The same on another device."""
        return Inputs(*(value.to(device) for value in vars(self).values()))


def cars196(
    half: str, kind: str, d: int, share: int = 1, all_references: bool = False
) -> Inputs:
    """The labels of one half of Cars196 under ``token22``, with drawn embeddings.

    Args:
        half: "train", classes 1-98, or "test", classes 99-196.
        kind: see ``draw``.
        d: D.
        share: of every class, one image in so many.
        all_references: ask about all samples, not only those that can be a reference.
    """
    classes = car_classes()[:98] if half == "train" else car_classes()[98:]
    words = sorted({c.token22 for c in classes})
    sizes = [-(-(c.train_images + c.test_images) // share) for c in classes]
    fine = torch.arange(98).repeat_interleave(torch.tensor(sizes))
    coarse_of_fine = torch.tensor([words.index(c.token22) for c in classes])
    inputs = labelled(fine, coarse_of_fine, kind, d)
    everyone = torch.arange(len(fine))
    return replace(inputs, references=everyone) if all_references else inputs


def regular(n: int, b: int, d: int, kind: str = "clustered") -> Inputs:
    """N samples in fine classes of about 80 and twenty coarse ones; B references."""
    count = max(40, n // 80)
    coarse_of_fine = torch.arange(count) % 20
    inputs = labelled(torch.arange(n) % count, coarse_of_fine, kind, d)
    shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(1))
    return Inputs(inputs.embeddings, inputs.fine, inputs.coarse, shuffled[:b])


def labelled(fine: Tensor, coarse_of_fine: Tensor, kind: str, d: int) -> Inputs:
    """Samples in random order with embeddings; every usable one is a reference."""
    shuffled = torch.randperm(len(fine), generator=torch.Generator().manual_seed(0))
    fine = fine[shuffled]
    references = Hierarchy.from_labels(fine, coarse_of_fine[fine]).references()
    embeddings = draw(fine, coarse_of_fine, kind, d)
    return Inputs(embeddings, fine, coarse_of_fine[fine], references)


def draw(fine: Tensor, coarse_of_fine: Tensor, kind: str, d: int) -> Tensor:
    """(N, D) float32 unit vectors from a fixed seed.

    Args:
        fine: (N,) labels.
        coarse_of_fine: (F,).
        kind: "random", every direction alike; or "clustered", a direction for each
            coarse class, a smaller one for each fine class and one for each sample.
        d: D.
    """
    generator = torch.Generator().manual_seed(2)
    x = torch.empty(len(fine), d).normal_(generator=generator)
    if kind == "clustered":
        above = torch.randn(int(coarse_of_fine.max()) + 1, d, generator=generator)
        own = torch.randn(len(coarse_of_fine), d, generator=generator)
        centres = above[coarse_of_fine] + 0.8 * own  # (F, D)
        for part in torch.arange(len(fine)).split(65_536):
            x[part] += centres[fine[part]]
    for part in x.split(65_536):
        part.copy_(normalize(part))
    return x
