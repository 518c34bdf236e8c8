"""Rules that the paper does not have, to ask what its own rules are worth.

- fine_only is Method 2 without the coarse level: N is the nearest of any other fine
  class, and P⁺ lies outside the sphere through it, nearest to R. There is no P⁻.
- hard_sibling, easy_positive and nearest_all keep the paper's N. P⁻ is the nearest of
  its kind to R in the first and third, P⁺ in the second and third; what is left is
  drawn. In equation (5) P⁻ is the negative of the fine level, and Methods 1 and 2 put
  it outside the sphere, where few hinges are left to close.

Each sees (B, N) distances and masks, and is meant for sets of some ten thousand images.
"""

from functools import partial

import torch
from torch import Tensor

BLOCK = 512  # references at a time


def _nearest(d: Tensor, among: Tensor) -> Tensor:
    return d.masked_fill(~among, torch.inf).argmin(1)


def _furthest(d: Tensor, among: Tensor) -> Tensor:
    return d.masked_fill(~among, -torch.inf).argmax(1)


def _any(among: Tensor) -> Tensor:
    return torch.multinomial(among.float(), 1).squeeze(1)


# --- The rules: d (B, N) from R, and who can be P⁺, P⁻ and N, (B, N) each -------------


def _fine_only(d, positive, sibling, other) -> tuple[Tensor, ...]:
    n = _nearest(d, sibling | other)
    outside = positive & (d > d.gather(1, n[:, None]))
    found = outside.any(1)
    return torch.where(found, _nearest(d, outside), _furthest(d, positive)), n


def _hard_sibling(d, positive, sibling, other) -> tuple[Tensor, ...]:
    return _any(positive), _nearest(d, sibling), _nearest(d, other)


def _easy_positive(d, positive, sibling, other) -> tuple[Tensor, ...]:
    return _nearest(d, positive), _any(sibling), _nearest(d, other)


def _nearest_all(d, positive, sibling, other) -> tuple[Tensor, ...]:
    return _nearest(d, positive), _nearest(d, sibling), _nearest(d, other)


RULES = {
    "fine_only": _fine_only,
    "hard_sibling": _hard_sibling,
    "easy_positive": _easy_positive,
    "nearest_all": _nearest_all,
}


def _draw(method, config, hierarchy, references, embeddings) -> list[Tensor]:
    """R and what the rule takes for it: first all R, then all of the next kind."""
    x = embeddings().float()
    fine, coarse = hierarchy.fine.to(x.device), hierarchy.coarse.to(x.device)
    chosen = []
    for r in torch.cat(list(references)).to(x.device).split(BLOCK):
        d = torch.cdist(x[r], x)
        same_fine = fine[r, None] == fine
        same_coarse = coarse[r, None] == coarse
        positive = same_fine.scatter(1, r[:, None], False)  # not R itself
        found = RULES[method](d, positive, same_coarse & ~same_fine, ~same_coarse)
        chosen.append(torch.stack([r, *found]))
    parts = torch.cat(chosen, 1).cpu().split([len(r) for r in references], dim=1)
    return [part.flatten() for part in parts]


DRAWS = {method: partial(_draw, method) for method in RULES}
