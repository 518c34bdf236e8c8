"""What is measured, under its name, beside the floor: one matrix product."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.inputs import Inputs
from benchmarks.peers import Answer
from qsel.metrics import recall_at_k
from qsel.selection import select_quadruplets
from qsel.vectors import squared_distances

ROWS = 512  # of a block of the floor
SAMPLE = 128  # references whose answers are held against float64 brute force


def floor(inputs: Inputs) -> None:
    """The product B × N × D in blocks of 512 rows into a reused buffer."""
    x = inputs.embeddings
    space = x.new_empty(ROWS, len(x))
    for r in inputs.references.split(ROWS):
        torch.mm(x[r], x.T, out=space[: len(r)])


@dataclass(frozen=True)
class Candidate:
    """One way to an answer.

    Attributes:
        title: for tables.
        run: inputs → the answer.
        quadruplet: whether it can say which P⁺ and P⁻ belong to N.
        target: the multiple of the floor that this project aims at.
    """

    title: str
    run: Callable[[Inputs], Answer]
    quadruplet: bool = False
    target: float | None = None


def _selection(method: str) -> Callable[[Inputs], Answer]:
    def run(inputs: Inputs) -> Answer:
        found = select_quadruplets(
            None if method == "random" else inputs.embeddings,
            inputs.fine,
            inputs.coarse,
            inputs.references,
            method,
            torch.Generator().manual_seed(0),
        )
        return vars(found)

    return run


def _recall(inputs: Inputs) -> Answer:
    return {
        "recall": torch.tensor([*recall_at_k(inputs.embeddings, inputs.fine).values()])
    }


OURS = {
    "method2": Candidate("Method 2", _selection("method2"), True, 1.05),
    "method1": Candidate("Method 1", _selection("method1"), True, 1.5),
    "hardest_negative": Candidate(
        "Hardest negative, random positives", _selection("hardest_negative"), True
    ),
    "random": Candidate("Random", _selection("random"), True, 0.02),
}
PEERS = {
    "cdist": Candidate("torch.cdist and masks: Method 2", peers.cdist_method2, True),
    "faiss_selector": Candidate("FAISS IndexFlatL2, IDSelector", peers.faiss_selector),
    "scikit_learn": Candidate("scikit-learn, brute force", peers.scikit_learn),
    "batch_hard_memory": Candidate(
        "pytorch-metric-learning BatchHardMiner, memory", peers.batch_hard_memory
    ),
}
RECALL = Candidate("Recall@1/2/4/8", _recall, False, 1.25)
ALL = OURS | PEERS | {"recall": RECALL}


# --- the right answer ------------------------------------------------------------


def right(name: str, inputs: Inputs, answer: Answer) -> float:
    """The share of a sample of answers that are those of float64 brute force.

    Ties count for every sample at the same distance. Of random, drawn partners need
    only be of the right class.
    """
    if name == "recall":
        return float(_brute_recall(inputs) == answer["recall"][0])
    b = len(inputs.references)
    rows = torch.randperm(b, generator=torch.Generator().manual_seed(3))[:SAMPLE]
    rows = rows.to(inputs.references.device)
    good = [
        _right(name, inputs, int(inputs.references[row]), _row(answer, row))
        for row in rows
    ]
    return sum(good) / len(good)


def _row(answer: Answer, row: Tensor) -> dict[str, int]:
    return {name: int(values[row]) for name, values in answer.items()}


def _right(name: str, inputs: Inputs, r: int, found: dict[str, int]) -> bool:
    fine, coarse = inputs.fine, inputs.coarse
    d = _distances(inputs, r)
    elsewhere = coarse != coarse[r]
    n = found["negative"]
    if name == "random":
        return bool(elsewhere[n])
    if n < 0 or not elsewhere[n] or d[n] > d[elsewhere].min():
        return False
    if name == "hardest_negative" or "positive_positive" not in found:
        return True
    others = torch.arange(len(d), device=d.device) != r
    pp, pn = found["positive_positive"], found["positive_negative"]
    of_pn = fine == fine[pn]  # the class that was drawn is read from the answer
    if name == "method1":
        of_pn = (coarse == coarse[r]) & (fine != fine[r])
    around = _distances(inputs, n) if name == "method1" else d
    for chosen, candidates in ((pp, (fine == fine[r]) & others), (pn, of_pn)):
        outside = candidates & (d > d[n])
        if outside.any():
            good = outside[chosen] and around[chosen] <= around[outside].min()
        else:
            good = candidates[chosen] and d[chosen] >= d[candidates].max()
        if not good:
            return False
    return bool(coarse[pn] == coarse[r] and fine[pn] != fine[r])


def _distances(inputs: Inputs, r: int) -> Tensor:
    """(N,) squared distances in float64."""
    everyone = torch.arange(len(inputs.fine), device=inputs.fine.device)
    at = torch.full_like(everyone, r)
    return squared_distances(inputs.embeddings, at, inputs.embeddings, everyone)


def _brute_recall(inputs: Inputs) -> Tensor:
    x = inputs.embeddings.double()
    hits = 0
    for r in torch.arange(len(x)).split(ROWS):
        d = torch.cdist(x[r], x)
        d[torch.arange(len(r)), r] = torch.inf
        hits += int((inputs.fine[d.argmin(1)] == inputs.fine[r]).sum())
    return torch.tensor(hits / len(x), dtype=torch.float64).float()
