"""Jobs side by side, on several processors or GPUs, with a line of progress.

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

    def attempt(job: Job) -> None:
        gpu = free.get()
        progress.start(job)
        try:
            note = job.work(gpu, lambda text: progress.follow(job, text))
        except Exception as error:
            reason = str(error) or type(error).__name__
            failed.append(f"{job.name}: {reason}")
            progress.end(job, reason, failed=True)
        else:
            if note is None:
                elsewhere.append(job)
            progress.end(job, note)
        finally:
            free.put(gpu)

    with ThreadPoolExecutor(at_once) as pool:
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
            while progress.running:
                stop()
                time.sleep(0.1)
            raise
    return failed


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which batch systems send; handled as Ctrl-C is."""


@contextmanager
def stoppable(how_to_go_on: str) -> Iterator[None]:
    """End the block with one sentence on Ctrl-C or SIGTERM, and no traceback.

    Args:
        how_to_go_on: what the sentence says after "stopped; ".

    Raises:
        SystemExit: with status 130 (Ctrl-C) or 143 (SIGTERM).

    Example:
        >>> with stoppable("the same command goes on from there"):
        ...     print("at work")
        at work
    """

    def terminate(number, frame):
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as stop:
        print(f"\nqsel: stopped; {how_to_go_on}", file=sys.stderr, flush=True)
        raise SystemExit(143 if isinstance(stop, _Terminated) else 130) from None
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
    """What is done, what runs, and how long the rest will take, on standard error.

    A terminal has a line that changes; a file gets one a minute. Both get one for each
    job that ended.
    """

    def __init__(self, title: str, jobs: Sequence[Job]):
        self.title, self.jobs = title, jobs
        self.running: dict[Job, int | None] = {}  # its epochs that are done, if known
        self.starts: dict[Job, float] = {}
        self.ended: set[Job] = set()
        self.worked = 0  # in this session: epochs, and one more for each job
        self.began = self.told = time.monotonic()
        self.lock = threading.RLock()
        self.terminal = sys.stderr.isatty()

    def start(self, job: Job) -> None:
        with self.lock:
            self.running[job] = None if job.epochs else 0
            self.starts[job] = time.monotonic()
            self.tell()

    def follow(self, job: Job, text: str) -> None:
        """Read the epoch from a training's bar, which shows the one that goes on."""
        with self.lock:
            if found := re.findall(r"epoch=(\d+)", text):
                self._reached(job, int(found[-1]) - 1)
                self.tell()

    def end(self, job: Job, note: str | None, failed: bool = False) -> None:
        """A job's process is gone; without a note, another driver has the job.

        Of one that failed the note is the reason.
        """
        with self.lock:
            if note is not None and self.running[job] is not None and not failed:
                self._reached(job, job.epochs)
                self.worked += 1
            del self.running[job]
            if note is not None:
                self.ended.add(job)
                seconds = time.monotonic() - self.starts[job]
                took = f"{seconds:.0f} s"
                words = f"failed after {took}: {note}" if failed else f"{note}, {took}"
                self._write(f"{job.name}: {words}")
                self.tell(now=True)

    def _reached(self, job: Job, epoch: int) -> None:
        before = self.running[job]
        if before is not None:  # the first that is seen may be far on: a resumed run
            self.worked += epoch - before
        self.running[job] = epoch

    def tell(self, now: bool = False) -> None:
        if self.terminal:
            end = "\n" if len(self.ended) == len(self.jobs) else ""
            print(f"\r\x1b[K{self.status()}", end=end, file=sys.stderr, flush=True)
        elif now or time.monotonic() - self.told > 60:
            self.told = time.monotonic()
            self._write(self.status())

    def status(self) -> str:
        left = sum(job.epochs + 1 for job in self.jobs if job not in self.ended)
        left -= sum(epoch or 0 for epoch in self.running.values())
        words = [f"{self.title}: {len(self.ended)} of {len(self.jobs)}"]
        if left and self.worked:
            minutes = (time.monotonic() - self.began) / self.worked * left / 60
            words.append(f"{minutes:.0f} min left" if minutes > 1 else "a minute left")
        words += [
            f"{job.name} epoch {epoch + 1}/{job.epochs}"
            for job, epoch in self.running.items()
            if job.epochs and epoch is not None
        ]
        return ", ".join(words)

    def _write(self, line: str) -> None:
        print("\r\x1b[K" * self.terminal + line, file=sys.stderr, flush=True)
