"""Several processes as one: what they share out, and how they agree.

Processes are started by torchrun, on one machine or several. Each embeds its share of
the training set, and all get the embeddings of all. They draw the same random numbers,
so that each selects the same quadruplets without asking the others.

If a process dies, whatever the others wait for fails, and they end with a message.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = timedelta(minutes=30)  # how long a process waits for the others


class TeamError(RuntimeError):
    """Processes that cannot work together, or one of them stopped."""


@dataclass(frozen=True)
class Team:
    """The processes of a run: this one's number, and how many there are.

    Example:
        >>> Team(rank=1, size=3).share(8), Team().share(8)
        (slice(3, 6, None), slice(0, 8, None))
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's share of n things: in order, sizes differ by one at most."""
        each, more = divmod(n, self.size)
        first = self.rank * each + min(self.rank, more)
        return slice(first, first + each + (self.rank < more))

    def gather(self, share: Tensor, n: int) -> Tensor:
        """(n, …) the shares of all, in order; with gradient for this process's own.

        Args:
            share: what this process has of them, (m, …) with m as ``share`` says.
            n: how many there are in all.
        """
        if self.size == 1:
            return share
        each = -(-n // self.size)  # the largest share; all have to send as much
        sent = share.new_zeros(each, *share.shape[1:])
        sent[: len(share)] = share.detach()
        parts = [torch.empty_like(sent) for _ in range(self.size)]
        with _together():
            dist.all_gather(parts, sent)
        sizes = [Team(rank, self.size).share(n) for rank in range(self.size)]
        parts = [p[: s.stop - s.start] for p, s in zip(parts, sizes, strict=True)]
        parts[self.rank] = share
        return torch.cat(parts)

    def sum_gradients(self, model: nn.Module) -> None:
        """Give every process the sum of all processes' gradients.

        DistributedDataParallel is no help: it expects every output of the network to
        have a part in the loss, and five rows of Table 1 leave out the class heads.
        """
        if self.size == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        with _together():
            dist.all_reduce(flat)
        parts = flat.split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the buffers of the first: running means, say."""
        if self.size > 1:
            with _together():
                for buffer in model.buffers():
                    dist.broadcast(buffer, 0)

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The first process does what is in here alone; then all others do."""
        if self.size > 1 and not self.leads:
            self.wait()
        yield
        if self.size > 1 and self.leads:
            self.wait()

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            with _together():
                dist.barrier()


ALONE = Team()


def join() -> Team:
    """The team that torchrun made, if it started this process; else a team of one.

    Raises:
        TeamError: more processes on a machine than it has GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        return ALONE
    if not dist.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:
            local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
            if local >= gpus:
                raise TeamError(
                    f"process {local + 1} of this machine finds {gpus} GPUs; start "
                    "torchrun with --nproc-per-node of at most that"
                )
            torch.cuda.set_device(local)
        with _together():
            dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    return Team(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """End the team's connections, if there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _together() -> Iterator[None]:
    """What fails in here fails because of another process."""
    try:
        yield
    except RuntimeError as error:  # with the address of the other in its words
        raise TeamError(
            "another process of this run has stopped, or cannot be reached; start the "
            "run again, and it goes on from its last checkpoint"
        ) from error
