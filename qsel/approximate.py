"""The nearest negative in galleries too large to compare with: most of the time.

An inverted file index (FAISS, ``pip install 'qsel[faiss]'``) looks only into the lists
nearest to a query. What it returns is of another coarse class for certain, and the
nearest such sample only with some probability, which is to be measured on the
embeddings at hand. Exact search stays the default of this package.
"""

import numpy as np
import torch
from torch import Tensor

from qsel.hierarchy import HierarchyError
from qsel.vectors import check_embeddings

POINTS_A_LIST = 256  # that the lists are trained on, at most


class ApproximateNegatives:
    """An index of N embeddings that is asked for samples of other coarse classes.

    Args:
        embeddings: (N, D) floating point on the CPU; a copy is kept in float32.
        coarse: (N,) integer coarse labels.
        lists: how many parts the gallery is divided into; by default 4·√N.
        seed: of the sample that the lists are trained on.

    Raises:
        HierarchyError: one coarse class only.
        ModuleNotFoundError: FAISS is not installed.
        ValueError: bad embeddings, or another number of labels.

    Example:
        >>> x, coarse = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([0, 0, 1])
        >>> index = ApproximateNegatives(x, coarse, lists=1)  # doctest: +SKIP
        >>> index.nearest(x[:1], coarse[:1]).tolist()  # doctest: +SKIP
        [2]
    """

    def __init__(
        self,
        embeddings: Tensor,
        coarse: Tensor,
        lists: int | None = None,
        seed: int = 0,
    ):
        faiss = _faiss()
        check_embeddings(embeddings)
        n, d = embeddings.shape
        if coarse.shape != (n,) or embeddings.device.type != "cpu":
            raise ValueError(
                f"{n} embeddings on {embeddings.device} and coarse labels of shape "
                f"{tuple(coarse.shape)}; expected one label for each, on the CPU"
            )
        if len(coarse.unique()) < 2:
            raise HierarchyError(
                f"only one coarse class, {int(coarse[0])}: no sample has a negative; "
                "give at least two"
            )
        self.coarse = coarse
        lists = min(n, lists or max(1, round(4 * n**0.5)))
        faiss.omp_set_num_threads(torch.get_num_threads())
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, lists)
        self._index.cp.seed = seed
        self._index.cp.max_points_per_centroid = POINTS_A_LIST
        self._index.cp.min_points_per_centroid = 1
        points = embeddings.detach().float().contiguous().numpy()
        generator = torch.Generator().manual_seed(seed)
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

    def nearest(self, points: Tensor, coarse: Tensor, probes: int = 16) -> Tensor:
        """A near sample of another coarse class for each point.

        Args:
            points: (B, D) on the CPU.
            coarse: (B,) their coarse labels.
            probes: lists that are looked into: the nearest that hold another coarse
                class than the point's. Those of its own class alone are passed over.

        Returns:
            (B,) int64 samples.
        """
        faiss = _faiss()
        x = points.detach().float().contiguous().numpy()
        found = torch.full((len(points),), -1)
        for c in coarse.unique():
            own = _among(self.coarse.numpy() == int(c))
            others = faiss.IDSelectorNot(own)
            own_alone = (self._low == int(c)) & (self._high == int(c))
            useful = (self._low >= 0) & ~own_alone
            lists = faiss.SearchParameters(sel=_among(useful))
            options = faiss.SearchParametersIVF(
                sel=others,
                nprobe=min(probes, int(useful.sum())),
                quantizer_params=lists,
            )
            rows = (coarse == c).nonzero().squeeze(1)
            _, near = self._index.search(x[rows.numpy()], 1, params=options)
            found[rows] = torch.from_numpy(near[:, 0])
        return found


def _among(chosen: np.ndarray):
    """What FAISS takes for a choice among numbered things."""
    return _faiss().IDSelectorBitmap(np.packbits(chosen, bitorder="little"))


def _faiss():
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "approximate search needs FAISS, which is not installed; "
            "pip install 'qsel[faiss]'"
        ) from error
    return faiss
