"""A pre-trained small trunk, as the paper's ResNet-101 was pre-trained on ImageNet.

Equation (6) with hard negatives does not start well from random weights. The paper
starts from ImageNet; where nothing is downloaded, the small trunk starts from a plain
classifier of *other* cars: SynthCars of another seed, none of whose models stands in
the training or the test classes.
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from qsel.data.files import cache_path, load_or_make
from qsel.data.machine import fresh_settings
from qsel.data.synthcars import synthcars
from qsel.experiments.config import Config
from qsel.experiments.inputs import Images
from qsel.experiments.record import computed_by
from qsel.experiments.trunks import small_trunk

SEED = 1000  # of the other cars; SynthCars' own default is 0
IMAGES_PER_MODEL = 16
STEPS, BATCH, RATE = 300, 64, 0.1


@fresh_settings()
def small_trunk_weights() -> dict[str, Tensor]:
    """The small trunk's pre-trained weights, from the cache or trained now.

    The same on every CPU of one kind: all that is random comes from one seed. The
    file's name carries a hash of what made it.
    """
    images = synthcars(seed=SEED, images_per_model=IMAGES_PER_MODEL).train
    made_of = computed_by(), images.fingerprint, STEPS, BATCH, RATE, str(small_trunk())
    name = hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]

    def make() -> dict[str, Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return _classifier(images).state_dict()

    path = cache_path(f"weights/small-{name}.pt")
    return load_or_make(path, _read_weights, make, torch.save)


def _read_weights(path: Path) -> dict[str, Tensor]:
    weights = torch.load(path, weights_only=True)
    small_trunk().load_state_dict(weights)  # raises where they are something else
    return weights


def _classifier(images) -> nn.Module:
    """A small trunk trained to tell the fine classes of some images apart."""
    labels = images.hierarchy.fine
    trunk = small_trunk()
    size = images[0].shape[-1]
    config = Config(trunk="small", image_size=size, resize=size, crop_scale=0.6)
    inputs = Images(images, config, torch.device("cpu"))
    classify = nn.Linear(192, len(images.hierarchy.fine_names))
    model = nn.Sequential(trunk, classify)
    optimiser = torch.optim.SGD(
        model.parameters(), RATE, momentum=0.9, weight_decay=5e-4
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, STEPS, pct_start=0.2
    )
    batches = [torch.randint(len(images), (BATCH,)) for _ in range(STEPS)]
    bar = tqdm(inputs.stream(batches), total=STEPS, desc="pre-training", unit="step")
    for batch, x in zip(batches, bar, strict=True):
        loss = nn.functional.cross_entropy(model(x), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.2f}")
    return trunk
