"""Several processes that work together, as torchrun starts them, on one CPU."""

import os
import socket
import traceback

import torch

from qsel import distributed


def together(work, size: int, *arguments, missing: int = 0) -> list:
    """What ``work(team, *arguments)`` returns in each of some processes, by rank.

    Args:
        work: a function of a module that a new process can import.
        size: how many processes.
        arguments: for the function.
        missing: so many end without an answer.

    Raises:
        RuntimeError: one of them failed; its traceback is the text.
    """
    context = torch.multiprocessing.get_context("spawn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers = context.Queue()
    started = [
        context.Process(
            target=_process, args=(rank, size, port, work, arguments, answers)
        )
        for rank in range(size)
    ]
    for process in started:
        process.start()
    try:
        found = dict(answers.get(timeout=120) for _ in started[missing:])
    finally:
        for process in started:
            process.join(10)
            process.kill()
    for failed, answer in found.values():
        if failed:
            raise RuntimeError(answer)
    return [found[rank][1] for rank in sorted(found)]


def _process(rank, size, port, work, arguments, answers):
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    try:
        answer = False, work(distributed.join(), *arguments)
    except Exception:
        answer = True, traceback.format_exc()
    answers.put((rank, answer))
    distributed.leave()
