"""Other ways to the same answer: what people would write, and other libraries.

Each takes ``Inputs`` and returns what it found, under the names of a quadruplet.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.inputs import Inputs

Answer = dict[str, Tensor]
BLOCK = 512  # references at a time


def cdist_method2(inputs: Inputs) -> Answer:
    """Method 2 with ``torch.cdist`` and masks, in blocks of references."""
    x, fine, coarse = inputs.embeddings, inputs.fine, inputs.coarse
    generator = torch.Generator().manual_seed(0)
    fine_classes, coarse_of = fine.unique(), {}
    for f in fine_classes.tolist():
        coarse_of[f] = int(coarse[fine == f][0])
    siblings = {
        f: torch.tensor([g for g in coarse_of if g != f and coarse_of[g] == c])
        for f, c in coarse_of.items()
    }
    parts: list[Tensor] = []
    for r in inputs.references.split(BLOCK):
        d = torch.cdist(x[r], x)  # (b, N)
        elsewhere = coarse[r, None] != coarse
        radius, n = d.masked_fill(~elsewhere, torch.inf).min(1)
        of_class = [siblings[f] for f in fine[r].tolist()]
        u = torch.rand(len(r), generator=generator).tolist()
        drawn = [s[int(v * len(s))] for s, v in zip(of_class, u, strict=True)]
        other = torch.arange(len(x)) != r[:, None]
        chosen = []
        for candidates in (
            (fine[r, None] == fine) & other,
            torch.stack(drawn)[:, None] == fine,
        ):
            outside = candidates & (d > radius[:, None])
            nearest = d.masked_fill(~outside, torch.inf).argmin(1)
            furthest = d.masked_fill(~candidates, -torch.inf).argmax(1)
            chosen.append(torch.where(outside.any(1), nearest, furthest))
        parts.append(torch.stack([*chosen, n]))
    names = ("positive_positive", "positive_negative", "negative")
    return dict(zip(names, torch.cat(parts, 1), strict=True))


def faiss_selector(inputs: Inputs) -> Answer:
    """FAISS, exact: one search for each coarse class, its own samples barred."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    x = inputs.embeddings.numpy()
    index = faiss.IndexFlatL2(x.shape[1])
    index.add(x)

    def search(r: Tensor, barred: Tensor) -> Tensor:
        own = faiss.IDSelectorBatch(barred.nonzero().squeeze(1).numpy())
        others = faiss.IDSelectorNot(own)
        options = faiss.SearchParameters(sel=others)
        return torch.from_numpy(index.search(x[r.numpy()], 1, params=options)[1][:, 0])

    return _by_coarse_class(inputs, search)


def scikit_learn(inputs: Inputs) -> Answer:
    """scikit-learn by brute force: all samples of other classes, for each class."""
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    x = inputs.embeddings.numpy()

    def search(r: Tensor, barred: Tensor) -> Tensor:
        others = (~barred).nonzero().squeeze(1)
        model = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(
            x[others.numpy()]
        )
        near = model.kneighbors(x[r.numpy()], return_distance=False)[:, 0]
        return others[torch.from_numpy(near)]

    with threadpool_limits(torch.get_num_threads()):
        return _by_coarse_class(inputs, search)


def batch_hard_memory(inputs: Inputs) -> Answer:
    """pytorch-metric-learning's BatchHardMiner against a memory of the whole set."""
    from pytorch_metric_learning.miners import BatchHardMiner

    miner, x, coarse = BatchHardMiner(), inputs.embeddings, inputs.coarse
    parts = []
    for r in inputs.references.split(BLOCK):
        anchors, _, negatives = miner(x[r], coarse[r], x, coarse)
        found = torch.full_like(r, -1)
        found[anchors] = negatives
        parts.append(found)
    return {"negative": torch.cat(parts)}


def _by_coarse_class(
    inputs: Inputs, search: Callable[[Tensor, Tensor], Tensor]
) -> Answer:
    found = torch.full_like(inputs.references, -1)
    of_reference = inputs.coarse[inputs.references]
    for c in of_reference.unique():
        rows = of_reference == c
        found[rows] = search(inputs.references[rows], inputs.coarse == c)
    return {"negative": found}
