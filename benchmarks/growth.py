"""How time and memory grow with B and with N; and a gallery too large for exactness."""

import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.candidates import OURS, floor
from benchmarks.inputs import KINDS, Inputs, regular
from benchmarks.measure import beside_floor, peak_memory, seconds

METHOD = "method2"


def with_n(sizes: list[int], b: int, d: int, repeats: int) -> Iterator[dict]:
    """Method 2 for a fixed number of references in galleries of several sizes."""
    for n in sizes:
        inputs = regular(n, min(b, n), d)
        found, _ = beside_floor(inputs, OURS[METHOD].run, repeats)
        memory = peak_memory(METHOD, inputs)
        yield {"n": n, "b": len(inputs.references), "d": d, **found, "memory": memory}


def with_b(n: int, counts: list[int], d: int, repeats: int) -> Iterator[dict]:
    """Method 2 in one gallery for several numbers of references."""
    whole = regular(n, n, d)
    for b in counts:
        r = whole.references[:b]
        inputs = Inputs(whole.embeddings, whole.fine, whole.coarse, r)
        found, _ = beside_floor(inputs, OURS[METHOD].run, repeats)
        yield {"n": n, "b": len(r), "d": d, **found}


def approximate(n: int, b: int, d: int, probes: list[int]) -> Iterator[dict]:
    """The nearest negative from an inverted file index, beside the exact search.

    "recall" is the share of references whose true nearest negative is found, and
    "further" how much further the one that is found lies, on average over all.
    """
    from benchmarks.approximate import ApproximateNegatives

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
