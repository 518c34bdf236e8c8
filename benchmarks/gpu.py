"""The GPU table: selection beside two floors, and training beside a plain loop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import get_model

from benchmarks.candidates import OURS, SAMPLE, floor, right
from benchmarks.inputs import Inputs, regular
from benchmarks.measure import beside_floor, seconds
from qsel import losses
from qsel.selector import QuadrupletSelector

EMBEDDING = 1024


def selection(
    device: str, sizes: list[int], b: int, d: int, repeats: int
) -> Iterator[dict]:
    """Methods 2 and 1 beside the product in float32 and in TF32."""
    for n in sizes:
        inputs = regular(n, min(b, n), d).to(device)
        for precision in ("float32", "tf32"):
            with _products(precision):
                for name in ("method2", "method1"):
                    run = OURS[name].run
                    for warm in (floor, run):
                        warm(inputs)
                    found, answer = beside_floor(inputs, run, repeats)
                    yield {
                        **{"method": name, "n": n, "b": len(inputs.references), "d": d},
                        **{"products": precision, **found},
                        "memory": _peak(device, partial(run, inputs)),
                        "right": right(name, inputs, answer),
                        "checked": min(SAMPLE, len(inputs.references)),
                    }


def training(
    device: str,
    trunk: str,
    backend: str,
    batch: int,
    side: int,
    n: int,
    steps: int,
) -> Iterator[dict]:
    """Images/s of a trunk in bfloat16, channels last, with and without selection.

    A step embeds four images of each of ``batch`` references, and selects among N
    embeddings. The plain loop has the same network, loss and images, and no selection.
    Embedding all N anew is a pass of its own: "refresh", in seconds.
    """
    images = torch.rand(4 * batch, 3, side, side, device=device)
    images = images.to(memory_format=torch.channels_last)
    set_of = regular(n, n, EMBEDDING).to(device)
    for compiled in (False, True):
        how = backend if compiled else None
        plain = _Loop(device, trunk, images, None, how)
        ours = _Loop(device, trunk, images, set_of, how)
        for loop in (plain, ours):
            for _ in range(3):
                loop.step()
        found = {plain: [], ours: []}
        for _ in range(3):
            for loop, times in found.items():
                times.append(seconds(lambda loop=loop: loop.steps(steps)) / steps)
        plain.embed()
        passing = min(seconds(plain.embed) for _ in range(3))
        rates = {loop: len(images) / min(times) for loop, times in found.items()}
        yield {
            **{"trunk": trunk, "compiled": compiled, "batch": batch, "side": side},
            "n": n,
            **{"plain": rates[plain], "selecting": rates[ours]},
            "ratio": rates[ours] / rates[plain],
            "refresh": n * passing / len(images),
            "memory": _peak(device, ours.step),
        }


class _Loop:
    """A network and one way to step it."""

    def __init__(
        self,
        device: str,
        trunk: str,
        images: Tensor,
        gallery: Inputs | None,
        backend: str | None,
    ):
        torch.manual_seed(0)
        self.kind, self.images, self.gallery = device, images, gallery
        model = get_model(trunk)
        model.fc = nn.Linear(model.fc.in_features, EMBEDDING)
        model = model.to(device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
        self.model = torch.compile(model, backend=backend) if backend else model
        if gallery is not None:
            self.selector = QuadrupletSelector(
                gallery.fine, gallery.coarse, gallery.embeddings
            )

    def step(self) -> None:
        """One step; with a gallery, first its quadruplets are chosen."""
        if self.gallery is not None:
            everyone = self.gallery.references
            b = len(self.images) // 4
            drawn = torch.randint(len(everyone), (b,), device=everyone.device)
            self.selector.select(everyone[drawn])
        four = nn.functional.normalize(self._embeddings()).chunk(4)
        loss = losses.joint_loss(*four) + losses.global_loss(*four)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    @torch.inference_mode()
    def embed(self) -> None:
        """The images once more, as a refresh does it."""
        self.model.eval()
        self._embeddings()
        self.model.train()

    def _embeddings(self) -> Tensor:
        with torch.autocast(self.kind, torch.bfloat16):
            return self.model(self.images).float()

    def steps(self, count: int) -> None:
        """Several steps."""
        for _ in range(count):
            self.step()


@contextmanager
def _products(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _peak(device: str, work: Callable[[], object]) -> int | str:
    """Bytes on the device above what was there before."""
    if device != "cuda":
        return "not measured"
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
