"""The network of a run: made, and what it says of a whole set."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from qsel import metrics
from qsel.data.images import check_images
from qsel.data.machine import fresh_settings
from qsel.data.splits import ZeroShot
from qsel.experiments.config import Config
from qsel.experiments.distributed import ALONE, Processes
from qsel.experiments.frozen import (
    Activations,
    Features,
    cached_activations,
    frozen_features,
)
from qsel.experiments.inputs import Images
from qsel.experiments.precision import precision
from qsel.experiments.pretraining import small_trunk_weights
from qsel.experiments.trunks import (
    ModelError,
    build_trunk,
    preprocessing,
    split_trunk,
)
from qsel.model import EmbeddingModel, Head
from qsel.search import nearest_others

NMI_SEEDS = range(5)
Inputs = Images | Activations | Features


def best_device() -> torch.device:
    """CUDA where there is one; the CPU elsewhere (Apple's GPUs have no float64)."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@fresh_settings()
def prepare(
    data: ZeroShot,
    config: Config,
    device: torch.device,
    workers: int | None = None,
) -> tuple[nn.Module, Inputs, Inputs]:
    """The untrained network of a run, and its training and test inputs.

    Seeded by ``config.seed``. A frozen trunk, or the frozen part of one, runs here,
    once, and the network is what follows it.
    """
    check_images(data.train, data.test)  # names all bad ones at once
    hierarchy = data.train.hierarchy
    pretrained = None
    if config.weights == "synthcars":
        if config.trunk != "small":
            raise ModelError(
                f"weights=synthcars fits the small trunk, not {config.trunk!r}; set "
                "weights to imagenet, a file, or none"
            )
        pretrained = small_trunk_weights()
    torch.manual_seed(config.seed)
    weights = None if pretrained else config.weights
    trunk, width = build_trunk(replace(config, weights=weights))
    if pretrained:
        trunk.load_state_dict(pretrained)
    head = Head(
        width,
        len(hierarchy.coarse_names),
        len(hierarchy.fine_names),
        config.embedding_dim,
        config.dropout,
        config.normalise,
    )
    common = (config, device, workers, preprocessing(config.trunk, trunk))
    both = (data.train, data.test)
    if config.freeze == "trunk":
        raw = [frozen_features(trunk, images, *common) for images in both]
        if config.whiten is not None:
            head.standardise(raw[0], config.whiten)
        head.to(device)
        return head, *(Features(x, device, head.standardised) for x in raw)
    if config.freeze == "none":
        train, test = (Images(images, *common) for images in both)
    else:
        lower, trunk = split_trunk(trunk, config.freeze.removeprefix("until:"))
        views = config.views if config.augment else 0
        train, test = (
            cached_activations(lower, images, *common, n)
            for images, n in zip(both, (views, 0), strict=True)
        )
    kind = EmbeddingModel if config.batch_norm == "updated" else FixedStatistics
    model = kind(trunk, head)
    return model.to(device, memory_format=torch.channels_last), train, test


class FixedStatistics(EmbeddingModel):
    """A network whose trunk keeps the statistics of its batch normalisation."""

    def train(self, mode: bool = True) -> "FixedStatistics":
        """Training mode, or not, for all but the trunk's batch normalisation."""
        super().train(mode)
        for module in self.trunk.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


@fresh_settings()
@torch.no_grad()
def embed(
    model: nn.Module,
    inputs: Inputs,
    processes: Processes = ALONE,
    kind: str = "float32",
) -> Tensor:
    """Embeddings of a whole set, in order and not augmented: (N, D) float32.

    Several processes share the work, and each gets all embeddings. ``kind`` is the
    network's precision.
    """
    was_training = model.training
    model.eval()
    if processes.size > 1:
        for buffer in model.buffers():  # running means, say, of a share each
            torch.distributed.broadcast(buffer, 0)
    with precision(kind, next(model.parameters()).device):
        share = [model(batch)[0].float() for batch in inputs.everything(processes)]
    model.train(was_training)
    return processes.gather(torch.cat(share), len(inputs))


@fresh_settings()
@torch.no_grad()
def trunk_features(model: nn.Module, inputs: Inputs) -> Tensor:
    """What the trunk alone says of a whole set: (N, features) float32."""
    if isinstance(inputs, Features):
        return inputs.raw
    was_training = model.training
    model.eval()
    batches = inputs.everything()
    features = torch.cat([model.trunk(batch).float() for batch in batches])
    model.train(was_training)
    return features


def evaluate(
    embeddings: Tensor, labels: Tensor, ks: tuple[int, ...] = metrics.KS
) -> dict[str, float]:
    """All metrics of Table 1, and MAP@R, of (N, D) embeddings and (N,) fine labels.

    Returns:
        "R@K" for each K, "MAP@R", "NMI" (mean over k-means seeds) and "NMI sd", all as
        fractions from 0 to 1.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
        >>> evaluate(x, torch.tensor([0, 0, 1, 1]), ks=(1,))
        {'R@1': 1.0, 'MAP@R': 1.0, 'NMI': 1.0, 'NMI sd': 0.0}
    """
    found = metrics.retrieval(embeddings, labels, ks)
    nmi = torch.tensor(
        [metrics.nmi(embeddings, labels, seed) for seed in NMI_SEEDS],
        dtype=torch.float64,
    )
    return found | {"NMI": nmi.mean().item(), "NMI sd": nmi.std().item()}


def hits_by_class(embeddings: Tensor, labels: Tensor) -> dict[str, list[int]]:
    """What Recall@1 is made of: images and hits of each class, in order of the labels.

    R@1 = Σ_c hits_c / Σ_c images_c; a bootstrap over the classes needs no more.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [0.3], [5.0]])
        >>> hits_by_class(x, torch.tensor([0, 0, 1, 1]))
        {'images': [2, 2], 'R@1': [2, 1]}
    """
    labels = labels.cpu()
    hit = labels[nearest_others(embeddings, 1)[:, 0].cpu()] == labels  # (N,)
    _, dense, images = labels.unique(return_inverse=True, return_counts=True)
    hits = torch.zeros_like(images).index_add_(0, dense, hit.long())
    return {"images": images.tolist(), "R@1": hits.tolist()}
