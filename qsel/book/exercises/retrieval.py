"""Exercises of chapter 1, and of the page on speed: nearest neighbours."""

from collections import Counter

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from qsel import map_at_r, recall_at_k
from qsel.book.exercises import Slip, ask, exercise, hold, near, parts
from qsel.data.car_classes import car_classes
from qsel.search import nearest_others

# Six images on a line, of two classes.
LINE = (0.0, 1.0, 2.2, 3.9, 4.4, 7.0)
CLASSES = (0, 1, 0, 0, 1, 1)


@exercise("1b")
def one_hit_is_enough(answer: object) -> str:
    """Recall@1, Recall@2 and MAP@R of six points."""
    x, labels = torch.tensor(LINE)[:, None], torch.tensor(CLASSES)
    recall = recall_at_k(x, labels, ks=(1, 2))
    wanted = {"R@1": recall[1], "R@2": recall[2], "MAP@R": map_at_r(x, labels)}
    slips = {"R@1": {1.0: "no image is its own neighbour"}}
    given = parts(answer, 3, f"three numbers: {', '.join(wanted)}")
    for (name, truth), value in zip(wanted.items(), given, strict=True):
        near(value, truth, 0.006, slips.get(name), name)
    return (
        f"Recall@2 is {recall[2]:.2f} since one hit in two is enough; MAP@R wants both "
        f"others of the class first, and is {wanted['MAP@R']:.2f}."
    )


@exercise("1c")
def recall_at_1(answer: object) -> str:
    """Against ``qsel.recall_at_k``; the copies catch who drops the first column."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 5, generator=g)
    grid = torch.randint(0, 3, (20, 2), generator=g).float()
    few = torch.arange(40) % 6
    copies = torch.randn(12, 4, generator=g).round(decimals=1).repeat(2, 1)
    cases = [
        ("40 random points", (x, few)),
        ("points with many ties", (grid, torch.arange(20) % 4)),
        ("copies, each of another class", (copies, torch.arange(24) // 12)),
        ("one class", (x, torch.zeros(40, dtype=torch.int64))),
        ("every point alone in its class", (x, torch.arange(40))),
    ]
    count = hold(answer, cases, lambda x, y: recall_at_k(x, y, ks=(1,))[1])
    return f"It agrees with the package on {count} sets, copies included."


# --- how fast, how far -----------------------------------------------------------


@exercise("speed-b")
def below_the_floor(answer: object) -> str:
    """One minus the sum of squared shares of the coarse classes."""
    sizes = Counter()
    for car in car_classes()[:98]:
        sizes[car.token22] += car.train_images + car.test_images
    n = sum(sizes.values())
    saved = 100 * sum((size / n) ** 2 for size in sizes.values())
    near(answer, 100 - saved, 1.0, {saved: "that is the share that is saved"})
    largest, size = sizes.most_common(1)[0]
    return (
        f"{100 - saved:.1f} %: large classes save most, {largest} with {size / n:.0%} "
        "of the images before all."
    )


@exercise("speed-c")
def all_pairs(answer: object) -> str:
    """GiB of an N × N matrix in float32; on the meta device it takes none."""
    every = torch.empty(60_000, 60_000, device="meta")
    size = every.numel() * every.element_size()
    slips = {
        size / 1e9: "that is in GB of 10^9 bytes; a GiB has 2^30",
        2 * size / 2**30: "float32 takes four bytes, not eight",
    }
    near(answer, size / 2**30, 0.1, slips)
    return "And it grows with the square: ten times the samples, a hundred times that."


@exercise("speed-d")
def in_blocks(answer: object) -> str:
    """Against ``nearest_others``, with an eye on the largest tensor."""
    g = torch.Generator().manual_seed(0)
    grid = torch.randint(0, 4, (90, 2), generator=g).double()
    cases = [
        ("300 points, 16 rows at once", (torch.randn(300, 8, generator=g), 16)),
        ("90 points with many ties, 7 rows at once", (grid, 7)),
        ("two points, 5 rows at once", (torch.tensor([[0.0], [1.0]]), 5)),
        ("33 copies of one point, 8 rows at once", (torch.ones(33, 3), 8)),
    ]
    for what, (x, rows) in cases:
        with _Largest() as largest:
            ask(answer, what, (x, rows))
        allowed = 8 * len(x) * max(rows, x.shape[1])  # 8 bytes a number
        if largest.bytes > allowed:
            raise Slip(
                f"for {what} a tensor takes {largest.bytes:,} bytes; rows × N numbers "
                f"take {allowed:,} at most"
            )
    hold(answer, cases, lambda x, rows: nearest_others(x, 1)[:, 0])
    return "It agrees with the package, and no tensor is larger than rows × N."


class _Largest(TorchDispatchMode):
    """Watches how large the tensors are that are made."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, list | tuple) else (made,):
            if isinstance(tensor, Tensor):
                size = tensor.untyped_storage().nbytes()
                self.bytes = max(self.bytes, size)
        return made
