"""Jobs side by side, on several processors or GPUs, with a bar of progress.

Also what becomes of long work that is stopped from outside.
"""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue

import torch
from tqdm import tqdm

from qsel.data.machine import available_cores


@dataclass(frozen=True)
class Job:
    """Something to do, in a process that its work starts.

    Attributes:
        name: for people, and different for each job.
        work: called with the GPU it may use (none on a CPU) and a function to hand the
            process's messages to. Returns a note on what came out, or nothing where
            another driver is at it.
        epochs: how many it has, for the time left.
    """

    name: str
    work: Callable[[str | None, Callable[[str], None]], str | None]
    epochs: int = 0


def side_by_side(
    jobs: Sequence[Job],
    title: str,
    stop: Callable[[], None],
    at_once: int | None = None,
    alone: int = 0,
) -> list[str]:
    """Do all jobs, whatever becomes of the others; stop all if interrupted.

    A failure is printed when it happens, and the others go on.

    Args:
        jobs: in their order.
        title: of all of them.
        stop: ends the processes of all jobs that run.
        at_once: how many; by default one for each GPU, or without one for each
            processor and 4 at most.
        alone: this many go first, one at a time: they fill caches that the others read.

    Returns:
        One text for each job that failed.
    """
    gpus = _gpus()
    at_once = at_once or len(gpus) or min(4, available_cores())
    free: Queue[str | None] = Queue()
    for i in range(at_once):
        free.put(gpus[i % len(gpus)] if gpus else None)
    progress = _Progress(title, jobs)
    failed: list[str] = []
    elsewhere: list[Job] = []
    running: set[Job] = set()

    def attempt(job: Job) -> None:
        gpu, began = free.get(), time.monotonic()
        running.add(job)
        try:
            note = job.work(gpu, lambda text: progress.follow(job, text))
        except Exception as error:
            reason = str(error) or type(error).__name__
            failed.append(f"{job.name}: {reason}")
            progress.end(job, f"failed: {reason}")
        else:
            if note is None:
                elsewhere.append(job)
            else:
                progress.end(job, f"{note}, {time.monotonic() - began:.0f} s")
        finally:
            running.remove(job)
            free.put(gpu)

    with progress.bar, ThreadPoolExecutor(at_once) as pool:
        try:
            for job in jobs[:alone]:
                pool.submit(attempt, job).result()
            list(pool.map(attempt, jobs[alone:]))
            while elsewhere:  # wait for another driver, and take over if it dies
                time.sleep(1)
                again, elsewhere[:] = elsewhere[:], []
                list(pool.map(attempt, again))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while running:
                stop()
                time.sleep(0.1)
            raise
    return failed


@contextmanager
def stoppable(how_to_go_on: str) -> Iterator[None]:
    """End the block with one sentence on Ctrl-C or SIGTERM, and no traceback.

    Args:
        how_to_go_on: what the sentence says after "stopped; ".

    Raises:
        SystemExit: with status 130, as shells have it.

    Example:
        >>> with stoppable("the same command goes on from there"):
        ...     print("at work")
        at work
    """
    # Batch systems send SIGTERM.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nqsel: stopped; {how_to_go_on}", file=sys.stderr, flush=True)
        raise SystemExit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _gpus() -> list[str]:
    """The names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has."""
    if not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(i) for i in range(count)]


class _Progress:
    """In a terminal a bar of all epochs; everywhere a line for each job that ended.

    What earlier sessions did moves the bar, and does not shorten the time left.
    """

    def __init__(self, title: str, jobs: Sequence[Job]):
        self.reached: dict[Job, int] = {}
        self.lock = threading.Lock()
        total = sum(job.epochs + 1 for job in jobs)
        self.bar = tqdm(desc=title, total=total, disable=None, smoothing=0)

    def follow(self, job: Job, text: str) -> None:
        """Read the epoch from a training's bar, which shows the one that goes on."""
        if found := re.findall(r"epoch=(\d+)", text):
            self._move(job, int(found[-1]) - 1)

    def end(self, job: Job, note: str) -> None:
        """Move on to the next job, and say how this one ended."""
        self._move(job, job.epochs + 1)
        tqdm.write(f"{job.name}: {note}", file=sys.stderr)

    def _move(self, job: Job, epoch: int) -> None:
        if self.bar.disable:
            return
        with self.lock:
            step = epoch - self.reached.get(job, 0)
            if job.epochs and job not in self.reached:  # another session's work
                self.bar.initial += step
            self.reached[job] = epoch
            self.bar.update(step)
