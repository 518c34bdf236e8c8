"""The loop: re-embed, draw the batches of some steps, load their images, step, record.

Between two re-embeddings the training set's embeddings stand still, so the batches of
all the steps between are chosen at once; that is also what lets worker processes load
images ahead.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from qsel.data.files import written_whole
from qsel.data.machine import fresh_settings
from qsel.data.splits import ZeroShot
from qsel.experiments import rows
from qsel.experiments.config import Config
from qsel.experiments.distributed import ALONE, Processes
from qsel.experiments.network import Inputs, best_device, embed, prepare
from qsel.experiments.precision import precision
from qsel.hierarchy import Hierarchy

RISE = 0.25  # of the steps of a one-cycle schedule


class TrainingError(RuntimeError):
    """A run that cannot go on."""


@dataclass
class Trained:
    """A trained network with the inputs it was trained and is tested on."""

    model: nn.Module
    train: Inputs
    test: Inputs
    curve: list[dict[str, float]]
    seconds: float  # of training, this session only


@fresh_settings()
def train(
    data: ZeroShot,
    config: Config,
    device: torch.device | None = None,
    workers: int | None = None,
    checkpoint: Path | None = None,
    after_epoch: Callable[[int, nn.Module], None] | None = None,
    processes: Processes = ALONE,
) -> Trained:
    """Train one network, as one row of Table 1 does.

    Gradient descent on the row's objective, with the settings of ``config``; every row
    takes as many steps as a pass over all references needs. On
    the CPU a seed repeats bit for bit, also across an interruption: each epoch draws
    from its own random stream, and a checkpoint is kept after each.

    Args:
        data: training and unseen test classes.
        config: every setting that changes the result.
        device: by default the fastest at hand.
        workers: processes that decode image files, see
            ``qsel.experiments.inputs.Images``.
        checkpoint: file that is written after every epoch and resumed from if it is
            there.
        after_epoch: called with the epoch's number and the network, for figures that
            follow the training.
        processes: those that train together, each on its share of every batch. The
            loss is that of the whole batch. Dropout has another mask in each; and on
            CPUs, which have no common batch normalisation, each normalises its share.

    Raises:
        HierarchyError: no training image can be a reference.
        TeamError: another process stopped.
        TrainingError: the loss is not finite, or the checkpoint is of another run.
    """
    device = device or best_device()
    references = data.train.hierarchy.references()
    with processes.first():  # it fills the caches that the others read
        model, train_inputs, test_inputs = prepare(data, config, device, workers)
    forward = model
    if processes.fabric:
        model, forward = _data_parallel(model, config, device, processes)
    optimiser = _optimiser(model, config)
    run = _Run(
        *(data.train.hierarchy, config, model, forward),
        *(train_inputs, optimiser, processes),
    )
    identity = {"config": config.to_dict(), "data": data.train.fingerprint}
    identity |= {"number of processes": processes.size}
    curve = _resume(checkpoint, identity, model, optimiser)
    began = time.perf_counter()
    steps = max(1, len(references) // config.batch)
    with tqdm(
        total=(config.last_epoch or config.epochs) * steps,
        initial=len(curve) * steps,
        desc=f"{config.method}, seed {config.seed}",
        unit="step",
        leave=None,  # inside another bar it makes room when it is done
        disable=processes.rank > 0,
    ) as bar:
        for epoch in range(len(curve), config.last_epoch or config.epochs):
            curve.append(run.epoch(epoch, references, steps, bar))
            if checkpoint and processes.rank == 0:
                state = identity | {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "curve": curve,
                }
                with written_whole(checkpoint) as unfinished:
                    torch.save(state, unfinished)
            if after_epoch:
                after_epoch(epoch, model)
    seconds = time.perf_counter() - began
    return Trained(model.eval(), train_inputs, test_inputs, curve, seconds)


@dataclass
class _Run:
    """What one epoch needs."""

    hierarchy: Hierarchy
    config: Config
    model: nn.Module
    forward: nn.Module  # the same, with gradients shared by all processes
    inputs: Inputs
    optimiser: torch.optim.Optimizer
    processes: Processes

    def epoch(self, epoch: int, references: Tensor, steps: int, bar: tqdm) -> dict:
        """One pass over the references in random order; means over its steps."""
        config = self.config
        # Every epoch has its own random stream, so that a resumed run repeats it.
        torch.manual_seed(config.seed * 1_000_003 + epoch + 1)
        drawing = config
        if epoch < config.warmup and config.method in rows.QUADRUPLETS:
            drawing = replace(config, method="random")
        shuffled = references[torch.randperm(len(references))]
        due = shuffled[: steps * config.batch].split(config.batch)
        every = config.refresh or steps
        totals: dict[str, float] = {}
        self.model.train()
        for first in range(0, steps, every):
            number = epoch * steps + first
            images = self._draw(drawing, due[first : first + every], number)
            streamed = self.inputs.stream(images, self.processes)
            for step, (chosen, inputs) in enumerate(
                zip(images, streamed, strict=True), start=first
            ):
                rate = self._set_rate((epoch + step / steps) / config.epochs)
                found = self._step(chosen, inputs, epoch * steps + step)
                for name, value in found.items():
                    totals[name] = totals.get(name, 0.0) + value / steps
                bar.update()
                bar.set_postfix(epoch=epoch + 1, loss=f"{found['loss']:.3f}")
        return {"epoch": epoch + 1, **totals, "learning_rate": rate}

    def _draw(
        self, config: Config, references: Sequence[Tensor], step: int
    ) -> list[Tensor]:
        """The images of some steps; each process searches for its own references."""
        draw = partial(rows.draw, config, self.hierarchy)
        embeddings = partial(
            embed, self.model, self.inputs, self.processes, config.precision
        )
        searches = config.method in rows.QUADRUPLETS and config.method != "random"
        if self.processes.size == 1 or not searches:
            return draw(references, embeddings)
        x, due = embeddings(), torch.cat(list(references))
        # As many as one process would draw, so that what follows is the same.
        torch.rand(3, len(due), dtype=torch.float64)
        with self._own_stream(step):
            (own,) = draw([due[self.processes.share]], lambda: x)
        own = own.view(4, -1).T.to(x.device)  # (own references, 4)
        chosen = self.processes.gather(own, len(due)).cpu()
        return [c.T.flatten() for c in chosen.split([len(r) for r in references])]

    def _step(self, images: Tensor, inputs: Tensor, step: int) -> dict[str, float]:
        config, labels = self.config, self.hierarchy
        with precision(config.precision, inputs.device), self._own_stream(step):
            share = self.forward(inputs)
        outputs = [self.processes.gather(part, len(images)) for part in share]
        fine, coarse = (
            x[images].to(inputs.device) for x in (labels.fine, labels.coarse)
        )
        weights = head_of(self.model).fine.weight
        # Each process adds the gradient of its share of the proxies, as of the images.
        proxies = self.processes.gather(weights[self.processes.share], len(weights))
        batch = rows.Batch(images, fine, coarse, *outputs, proxies)
        found = rows.ROWS[config.method].objective(batch, config)
        loss = found["loss"]
        if not loss.isfinite():
            raise TrainingError(
                f"the loss became {loss.item()}; a lower learning_rate "
                f"(now {config.learning_rate}) or normalise=true usually helps"
            )
        self.optimiser.zero_grad()
        # Each process has the gradient of its share; what is applied is their mean.
        (loss * self.processes.size).backward()
        self.optimiser.step()
        return {name: value.item() for name, value in found.items()}

    @contextmanager
    def _own_stream(self, step: int) -> Iterator[None]:
        """What a process draws for its share leaves the common random stream alone."""
        if self.processes.size == 1:
            yield
            return
        with torch.random.fork_rng():
            torch.manual_seed(hash((self.config.seed, step, self.processes.rank)))
            yield

    def _set_rate(self, progress: float) -> float:
        config = self.config
        rate = config.learning_rate
        falls = progress if config.schedule == "cosine" else 0.0
        if config.schedule == "one-cycle":
            rate *= min(1, progress / RISE)
            falls = max(0, progress - RISE) / (1 - RISE)
        rate *= 0.5 * (1 + torch.tensor(falls * torch.pi).cos().item())
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get("share", 1)
        return rate


def _optimiser(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Of all weights; those of a trunk have a rate of their own."""
    parameters = [{"params": list(model.parameters())}]
    if hasattr(model, "trunk"):
        parameters = [
            {"params": list(model.trunk.parameters()), "share": config.trunk_rate},
            {"params": list(model.head.parameters())},
        ]
    common = dict(lr=config.learning_rate, weight_decay=config.weight_decay)
    if config.optimiser == "adamw":
        return torch.optim.AdamW(parameters, **common)
    return torch.optim.SGD(parameters, momentum=config.momentum, **common)


def head_of(model: nn.Module) -> nn.Module:
    """The head of a network, which is the network itself on a frozen trunk."""
    return getattr(model, "head", model)


def _data_parallel(
    model: nn.Module, config: Config, device: torch.device, processes: Processes
) -> tuple[nn.Module, nn.Module]:
    """The network, and the same as one that shares its gradients."""
    for name in {*rows.HEADS} - {*rows.ROWS[config.method].heads}:
        # A gradient that never comes.
        head_of(model).get_parameter(name).requires_grad_(False)
    if device.type == "cuda":  # CPUs have no such layer
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model, processes.fabric.setup_module(model)


def _resume(
    checkpoint: Path | None,
    identity: dict,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> list[dict[str, float]]:
    if checkpoint is None or not checkpoint.exists():
        return []
    unusable = f"{checkpoint} cannot be resumed from; remove it to start anew"
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        found = {name: state[name] for name in identity}
    except Exception as error:
        raise TrainingError(unusable) from error
    for name, wanted in identity.items():
        if found[name] != wanted:
            raise TrainingError(
                f"the checkpoint {checkpoint} is of other {name}; remove it to start "
                "anew, or give the run another folder"
            )
    try:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        return state["curve"]
    except Exception as error:
        raise TrainingError(unusable) from error
