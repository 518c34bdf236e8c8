"""Exercises of chapter 3: the network, and what a quadruplet is."""

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from qsel import losses, select_quadruplets
from qsel.book.exercises import at_distances, choose, exercise, hold, near
from qsel.experiments.config import preset
from qsel.experiments.trunks import build_trunk
from qsel.model import EmbeddingModel, Head


@exercise("3a", "Predict", "Four networks or one?")
def four_networks(answer: object) -> str:
    """Four constant outputs, one for each role, and what they cost."""
    constants = at_distances(*torch.tensor([0.0, 1.0, 2.0])[:, None].expand(3, 24))
    cost = losses.combined_loss(*constants).item()
    choices = (
        "zero",
        "above zero, for the margins always cost something",
        "above zero, for images of one class still differ",
    )
    truth = choices[0] if cost == 0 else choices[1]
    nudge = "each network may return whatever it likes, and need not look at its image"
    choose(answer, choices, truth, nudge)
    return (
        f"Constants at distances 0, 1 and 2 from R's cost {cost:.1f}, and nothing is "
        "learned. Shared weights rule this out: equal images have equal embeddings."
    )


@exercise("3b", "Compute", "The paper's size")
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


@exercise("3c", "Build", "A quadruplet or not")
def a_quadruplet_or_not(answer: object) -> str:
    """Against a loop over the constraints of section 2."""
    g = torch.Generator().manual_seed(0)
    fine = torch.arange(12).repeat_interleave(4)  # (48,)
    coarse = fine // 3
    everyone = torch.arange(48)
    good = select_quadruplets(None, fine, coarse, everyone, "random", g).stack()
    mixed = good.clone()
    for i in range(48):  # every fourth stays; in the others one role is drawn anew
        if i % 4:
            mixed[i % 4, i] = torch.randint(48, (1,), generator=g)
    copies = good.clone()
    copies[1] = copies[0]
    swapped = good[[0, 2, 1, 3]]
    anything = torch.randint(48, (4, 200), generator=g)
    far = good.clone()
    far[2] = far[3]
    cases = [
        ("quadruplets as the package draws them", good),
        ("quadruplets with P+ and P- exchanged", swapped),
        ("quadruplets whose P- is N", far),
        ("quadruplets whose P+ is R itself", copies),
        ("quadruplets with one image drawn anew", mixed),
        ("four images drawn from all", anything),
    ]
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
