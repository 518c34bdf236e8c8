"""One run: train, evaluate on the unseen classes, write the record."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from qsel.data.files import written_whole
from qsel.data.images import ImageSet
from qsel.data.machine import fresh_settings
from qsel.data.splits import ZeroShot
from qsel.experiments.config import Config, preset
from qsel.experiments.distributed import ALONE, Processes
from qsel.experiments.inputs import Images
from qsel.experiments.network import (
    best_device,
    embed,
    evaluate,
    hits_by_class,
    prepare,
    trunk_features,
)
from qsel.experiments.record import (
    RESULTS_VERSION,
    Record,
    RunError,
    command,
    recorded_settings,
    versions,
    writable,
)
from qsel.experiments.rows import UNTRAINED, comparable
from qsel.experiments.training import Trained, train
from qsel.metrics import KS


@dataclass(frozen=True)
class Setup:
    """What is asked for: the data, the settings, and how to name them in a record."""

    data: ZeroShot  # training and unseen test classes
    source: str  # what ``--data`` names, without the folders around it
    preset: str  # that ``config`` started from
    config: Config


@fresh_settings()
def run(
    setup: Setup,
    folder: Path,
    device: torch.device | None = None,
    workers: int | None = None,
    processes: Processes = ALONE,
) -> Record:
    """Train, evaluate and record; or return the record of a run that is done.

    The folder receives ``record.json`` and ``model.pt``, and while training goes on a
    checkpoint from which an interrupted run continues.

    Args:
        setup: what is asked for.
        folder: of this run alone.
        device, workers: see ``qsel.experiments.training.train``.
        processes: those that do it together; they share the folder, and the first one
            writes.

    Raises:
        RunError: the folder holds a run of other settings or data, or cannot be written
            to; or the test part is too small for the metrics. For other errors see
            ``qsel.experiments.training.train``.
    """
    if done := finished(setup, folder):
        return done
    evaluable(setup.data.test)  # said before hours of work
    if processes.rank == 0:
        writable(folder)
    method = setup.config.method
    device = device or best_device()
    # Half a run of one results version and half of another is a run of neither.
    checkpoint = folder / f"checkpoint-results{RESULTS_VERSION}.pt"
    trained = None
    if method in UNTRAINED:
        with processes.first():
            embeddings = untrained(setup, device, workers)
    else:
        common = (setup.config, device, workers, checkpoint)
        trained = train(setup.data, *common, processes=processes)
        found = embed(trained.model, trained.test, processes, setup.config.precision)
        embeddings = comparable(found, method)
    with processes.first():  # it writes what the others read
        if processes.rank > 0:
            return Record.load(folder / "record.json")
        record = _measured(setup, device, trained, embeddings, processes.size)
        if trained:
            with written_whole(folder / "model.pt") as unfinished:
                torch.save(trained.model.state_dict(), unfinished)
        record.save(folder / "record.json")
        checkpoint.unlink(missing_ok=True)
        return record


def _measured(
    setup: Setup,
    device: torch.device,
    trained: Trained | None,
    embeddings: Tensor,
    processes: int,
) -> Record:
    """The record of a run, from its embeddings of the unseen classes."""
    began = time.perf_counter()
    labels = setup.data.test.hierarchy.fine
    name = f"{device.type}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return Record(
        config=recorded_settings(setup.config),
        preset=setup.preset,
        data=describe(setup.data),
        metrics=evaluate(embeddings, labels),
        by_class=hits_by_class(embeddings, labels),
        curve=trained.curve if trained else [],
        command=command(
            setup.source,
            setup.preset,
            setup.config,
            preset(setup.preset, setup.config.method),
            threads=torch.get_num_threads() if device.type == "cpu" else 1,
            processes=processes,
        ),
        versions=versions(),
        device=f"{processes} × {name}" if processes > 1 else name,
        date=datetime.now(UTC).date().isoformat(),
        seconds={
            "training": round(trained.seconds, 1) if trained else 0.0,
            "evaluation": round(time.perf_counter() - began, 1),
        },
    )


@fresh_settings()
@torch.no_grad()
def untrained(setup: Setup, device: torch.device, workers: int | None = None) -> Tensor:
    """What the unseen classes look like without any training: (N, features).

    "start": the trunk's own features. "raw_pixels": the evaluation crop, shrunk to 32
    pixels a side. Of unit length where the embeddings are.
    """
    config = setup.config
    if config.method == "raw_pixels":
        side = min(32, config.image_size)
        small = partial(
            nn.functional.interpolate, size=side, mode="bilinear", antialias=True
        )
        batches = Images(setup.data.test, config, device, workers).everything()
        features = torch.cat([small(images).flatten(1) for images in batches])
    else:
        model, _, inputs = prepare(setup.data, config, device, workers)
        features = trunk_features(model, inputs)
    return nn.functional.normalize(features, dim=1) if config.normalise else features


def evaluable(test: ImageSet) -> None:
    """Check that every metric can be measured on some images, before any training.

    Raises:
        RunError: too few images for the largest K, a single class, or no class with two
            images.
    """
    images, needed = test.hierarchy.fine.bincount(), max(KS) + 1
    classes = int((images > 0).sum())
    if images.sum() < needed or classes < 2 or images.max() < 2:
        raise RunError(
            f"the test part has {images.sum()} images; R@{max(KS)} needs {needed}, NMI "
            f"two fine classes (here {classes}), and MAP@R two images of one of them: "
            "give data with more to test on"
        )


def finished(setup: Setup, folder: Path) -> Record | None:
    """The record in a folder, if it is of this run and of this results version.

    Raises:
        RunError: the folder holds a run of other settings or data.
    """
    path = folder / "record.json"
    if not path.exists():
        return None
    done = Record.load(path)
    same_data = without_names(done.data) == without_names(describe(setup.data))
    if done.config != recorded_settings(setup.config) or not same_data:
        raise RunError(
            f"{folder} holds another run ({done.command}); choose another folder, or "
            "remove it"
        )
    return done if done.versions.get("results") == RESULTS_VERSION else None


def describe(data: ZeroShot) -> dict[str, object]:
    """What a record says of the data: counts, fingerprints and what was trained on."""
    described: dict[str, object] = {"name": data.name}
    for part, images in (("train", data.train), ("test", data.test)):
        labels = images.hierarchy
        described[part] = {
            "images": len(labels),
            "fine classes": len(labels.fine_names),
            "coarse classes": len(labels.coarse_names),
            "fingerprint": images.fingerprint,
        }
    labels = data.train.hierarchy
    described["trained on"] = list(labels.fine_names)
    described["never references"] = len(labels) - len(labels.references())
    if data.skipped:
        described["skipped"] = list(data.skipped)
    return described


def without_names(described: dict[str, object]) -> dict[str, object]:
    """What records have always said of the data; fingerprints cover the names too."""
    return {key: value for key, value in described.items() if key != "trained on"}
