"""What a machine offers, and what results must not depend on: threads and modes."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import joblib
import torch
from threadpoolctl import threadpool_limits


def available_cores() -> int:
    """How many cores this process may use: of all, of its own, of its container's."""
    return joblib.cpu_count()


@contextmanager
def fresh_settings() -> Iterator[None]:
    """Compute as in a new process, whatever the caller's settings are.

    Gradients are recorded and tensors are float32 on the CPU unless a function says
    otherwise: the caller's ``inference_mode``, ``no_grad``, autocast, default type and
    default device do not reach inside. What trains or fills a cache needs that, or it
    would fail, or keep for all what suits one caller.

    There is one thread: a sum in another number of threads is another sum, and threads
    of several programs that share cores wait for one another. Whoever sets
    OMP_NUM_THREADS has as many as that says. Afterwards everything is as it was.

    Example:
        >>> with torch.inference_mode(), fresh_settings():
        ...     torch.ones(1, requires_grad=True).sum().requires_grad
        True
    """
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    with ExitStack() as stack:
        if not os.environ.get("OMP_NUM_THREADS"):
            stack.enter_context(threadpool_limits(1))  # numpy and scikit-learn
            stack.callback(torch.set_num_threads, threads)
            torch.set_num_threads(1)
        stack.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for device in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        yield
