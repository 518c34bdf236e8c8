"""How time and memory grow with B and with N; and a gallery too large for exactness."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from benchmarks.approximate import ApproximateNegatives
from benchmarks.candidates import OURS, floor
from benchmarks.inputs import KINDS, regular
from benchmarks.measure import beside_floor, peak_memory, seconds


def growth(sizes: Iterable[tuple[int, int]], d: int) -> Iterator[dict]:
    """Method 2 in galleries of N samples for B references, several (N, B)."""
    for n, b in sizes:
        inputs = regular(n, b, d)
        found, _ = beside_floor(inputs, OURS["method2"].run)
        memory = peak_memory("method2", inputs)
        yield {"n": n, "b": b, "d": d, **found, "memory": memory}


def approximate(n: int, b: int, d: int, probes: list[int]) -> Iterator[dict]:
    """The nearest negative from an inverted file index, beside the exact search.

    "recall" is the share of references whose true nearest negative is found, and
    "further" how much further the one that is found lies, on average over all.
    """
    for kind in KINDS:
        inputs = regular(n, b, d, kind)
        took, answer = _answer(partial(OURS["hardest_negative"].run, inputs))
        exact = answer["negative"]
        began = time.perf_counter()
        index = ApproximateNegatives(inputs.embeddings, inputs.coarse)
        built = time.perf_counter() - began
        x, r = inputs.embeddings, inputs.references
        points, coarse = x[r], inputs.coarse[r]
        best = (points - x[exact]).norm(dim=1)
        below = seconds(partial(floor, inputs))
        for count in probes:
            spent, near = _answer(partial(index.nearest, points, coarse, count))
            reached = (points - x[near]).norm(dim=1)
            yield {
                **{"embeddings": kind, "n": n, "b": b, "d": d, "probes": count},
                "recall": (near == exact).double().mean().item(),
                "further": (reached / best - 1).mean().item(),
                **{"seconds": spent, "exact": took, "built": built, "floor": below},
            }


def _answer(work: Callable[[], object]) -> tuple[float, object]:
    """How long something takes, and what it returns."""
    answers: list[object] = []
    return seconds(lambda: answers.append(work())), answers[0]
