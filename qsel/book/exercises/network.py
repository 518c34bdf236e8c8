"""Exercises of chapter 3: the network, and what a quadruplet is."""

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from qsel import select_quadruplets
from qsel.book.exercises import exercise, hold, near
from qsel.experiments.config import preset
from qsel.experiments.trunks import build_trunk
from qsel.model import EmbeddingModel, Head


@exercise("3b")
def the_papers_size(answer: object) -> str:
    """Weights behind a ResNet-101, counted without any memory."""
    model = _paper_model()
    layers = (model.head.embedding, model.head.coarse, model.head.fine)
    behind = sum(p.numel() for p in model.head.parameters())
    every = sum(p.numel() for p in model.parameters())
    biases = sum(layer.bias.numel() for layer in layers)
    heads = sum(p.numel() for layer in layers[1:] for p in layer.parameters())
    slips = {
        behind - biases: "that leaves out the biases",
        behind - heads: "that is the fully connected layer without the heads",
        every: "that is the whole network",
    }
    near(answer, behind, 0.5, slips)
    return f"Of {every:,} weights {100 * (1 - behind / every):.0f} % lie in the trunk."


@cache
def _paper_model() -> EmbeddingModel:
    """The network of the paper, with shapes and without values."""
    config = replace(preset("paper"), weights=None)
    with torch.device("meta"):
        trunk, width = build_trunk(config)
        return EmbeddingModel(
            trunk,
            Head(width, 22, 98, config.embedding_dim, config.dropout, config.normalise),
        )


@exercise("3c")
def a_quadruplet_or_not(answer: object) -> str:
    """Against a loop over the constraints of section 2."""
    g = torch.Generator().manual_seed(0)
    fine = torch.arange(12).repeat_interleave(4)  # (48,)
    coarse = fine // 3
    everyone = torch.arange(48)
    good = select_quadruplets(None, fine, coarse, everyone, "random", g).stack()
    cases = [("quadruplets as the package draws them", good)]
    for what, role, other in (
        ("whose P+ is R itself", 1, 0),
        ("whose P+ is P-", 1, 2),
        ("whose P- is P+", 2, 1),
        ("whose P- is N", 2, 3),
        ("whose N is P-", 3, 2),
    ):
        wrong = good.clone()
        wrong[role] = good[other]
        cases.append((f"quadruplets {what}", wrong))
    anything = torch.randint(48, (4, 200), generator=g)
    cases.append(("four images drawn from all", anything))
    named = [(what, (fine, coarse, q)) for what, q in cases]
    count = hold(answer, named, _by_a_loop)
    return f"It agrees with a plain loop on {count} batches."


def _by_a_loop(fine: Tensor, coarse: Tensor, quadruplets: Tensor) -> list[bool]:
    found = []
    for r, pp, pn, n in quadruplets.T.tolist():
        of_fine = fine[pp] == fine[r] and pp != r
        of_coarse = coarse[pn] == coarse[r] and fine[pn] != fine[r]
        found.append(bool(of_fine and of_coarse and coarse[n] != coarse[r]))
    return found
