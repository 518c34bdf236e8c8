"""The GPU table: selection beside the product in float32 and in TF32."""

from collections.abc import Iterator

import torch

from benchmarks.candidates import OURS, SAMPLE, floor, right
from benchmarks.inputs import regular
from benchmarks.measure import beside_floor


def selection(
    device: str, sizes: list[int], b: int, d: int, repeats: int
) -> Iterator[dict]:
    """Methods 2 and 1 in galleries of several sizes."""
    before = torch.get_float32_matmul_precision()
    for n in sizes:
        inputs = regular(n, min(b, n), d).to(device)
        for products, precision in (("float32", "highest"), ("tf32", "high")):
            torch.set_float32_matmul_precision(precision)
            for name in ("method2", "method1"):
                run = OURS[name].run
                for warm in (floor, run):
                    warm(inputs)
                held = torch.cuda.memory_allocated()
                torch.cuda.reset_peak_memory_stats()
                found, answer = beside_floor(inputs, run, repeats)
                yield {
                    **{"name": name, "n": n, "b": len(inputs.references), "d": d},
                    **{"products": products, **found},
                    "memory": torch.cuda.max_memory_allocated() - held,
                    "right": right(name, inputs, answer),
                    "checked": min(SAMPLE, len(inputs.references)),
                }
    torch.set_float32_matmul_precision(before)
