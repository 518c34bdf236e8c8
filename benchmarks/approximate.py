"""The nearest negative in galleries too large to compare with: most of the time.

An inverted file index (FAISS, ``pip install 'qsel[faiss]'``) looks only into the lists
nearest to a query. What it returns is of another coarse class for certain, and the
nearest such sample only with some probability, which is to be measured on the
embeddings at hand.
"""

import faiss
import numpy as np
import torch
from torch import Tensor

POINTS_A_LIST = 256  # that the lists are trained on, at most


class ApproximateNegatives:
    """An index of N embeddings that is asked for samples of other coarse classes.

    Args:
        embeddings: (N, D) floating point on the CPU; a copy is kept in float32.
        coarse: (N,) integer coarse labels, of two classes at least.
        lists: how many parts the gallery is divided into; by default 4·√N.
    """

    def __init__(self, embeddings: Tensor, coarse: Tensor, lists: int | None = None):
        n, d = embeddings.shape
        self.coarse = coarse
        lists = min(n, lists or max(1, round(4 * n**0.5)))
        faiss.omp_set_num_threads(torch.get_num_threads())
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, lists)
        self._index.cp.seed = 0
        self._index.cp.max_points_per_centroid = POINTS_A_LIST
        self._index.cp.min_points_per_centroid = 1
        points = embeddings.float().contiguous().numpy()
        generator = torch.Generator().manual_seed(0)
        some = torch.randperm(n, generator=generator)[: POINTS_A_LIST * lists]
        self._index.train(points[some.sort().values.numpy()])
        self._index.add(points)
        # The least and greatest coarse class of each list: one class if they agree.
        self._low = np.full(lists, -1)
        self._high = np.full(lists, -1)
        held = self._index.invlists
        for i in range(lists):
            if size := held.list_size(i):
                members = faiss.rev_swig_ptr(held.get_ids(i), size)
                classes = coarse[torch.from_numpy(members.copy())]
                self._low[i], self._high[i] = int(classes.min()), int(classes.max())

    def nearest(self, points: Tensor, coarse: Tensor, probes: int) -> Tensor:
        """A near sample of another coarse class for each point.

        Args:
            points: (B, D) on the CPU.
            coarse: (B,) their coarse labels.
            probes: lists that are looked into: the nearest that hold another coarse
                class than the point's. Those of its own class alone are passed over.

        Returns:
            (B,) int64 samples.
        """
        x = points.float().contiguous().numpy()
        found = torch.full((len(points),), -1)
        for c in coarse.unique():
            own = _selector(self.coarse.numpy() == int(c))
            own_alone = (self._low == int(c)) & (self._high == int(c))
            useful = (self._low >= 0) & ~own_alone
            options = faiss.SearchParametersIVF(
                sel=faiss.IDSelectorNot(own),
                nprobe=min(probes, int(useful.sum())),
                quantizer_params=faiss.SearchParameters(sel=_selector(useful)),
            )
            rows = (coarse == c).nonzero().squeeze(1)
            _, near = self._index.search(x[rows.numpy()], 1, params=options)
            found[rows] = torch.from_numpy(near[:, 0])
        return found


def _selector(chosen: np.ndarray) -> faiss.IDSelectorBitmap:
    """What FAISS takes for a choice among numbered things."""
    return faiss.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))
