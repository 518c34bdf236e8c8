"""Processes that train together: torchrun starts them, Lightning Fabric joins them."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn


class TeamError(RuntimeError):
    """Processes that cannot work together, or one of them stopped."""


class Processes:
    """This process and those it trains with; alone without a Fabric.

    Attributes:
        rank, size: this process's number, and how many there are.
        share: what this process has of anything in order: every ``size``-th.
    """

    def __init__(self, fabric=None):
        self.fabric = fabric
        self.rank, self.size = (
            (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
        )
        self.share = slice(self.rank, None, self.size)

    def gather(self, share: Tensor, n: int) -> Tensor:
        """(n, …) the shares of all, in order; with gradient for this process's own."""
        if not self.fabric:
            return share
        lacking = -(-n // self.size) - len(share)  # all have to send as much
        share = nn.functional.pad(share, (0, 0) * (share.ndim - 1) + (0, lacking))
        shares = self.fabric.all_gather(share.detach())
        shares[self.rank] = share
        return shares.transpose(0, 1).flatten(0, 1)[:n]

    def first(self) -> AbstractContextManager:
        """The first process does what is in here alone; then all others do."""
        return self.fabric.rank_zero_first() if self.fabric else nullcontext()


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that torchrun started with this one, until the block ends.

    Raises:
        TeamError: another process stopped, or more on a machine than it has GPUs.
    """
    started = torch.distributed.is_torchelastic_launched()
    size = int(os.environ["WORLD_SIZE"]) if started else 1
    if size == 1:
        yield ALONE
        return
    from lightning_fabric import Fabric

    here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if 0 < gpus < here:
        raise TeamError(
            f"{here} processes on this machine but {gpus} GPU{'s' * (gpus > 1)}; give "
            "torchrun a --nproc-per-node of at most that"
        )
    kind = "cuda" if gpus else "cpu"  # Apple's GPUs have no float64
    fabric = Fabric(
        accelerator=kind, devices=here, num_nodes=size // here, strategy="ddp"
    )
    try:
        fabric.launch()
        yield Processes(fabric)
        torch.distributed.destroy_process_group()
    except RuntimeError as error:  # its words have addresses
        lost = isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
        if not lost:
            raise
        raise TeamError(
            "another process of this run has stopped, or cannot be reached; start the "
            "run again, and it goes on from its last checkpoint"
        ) from error
