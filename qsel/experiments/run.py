"""One run: train, evaluate on the unseen classes, write the record."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from qsel.data.files import written_whole
from qsel.data.images import ImageSet
from qsel.data.machine import fresh_settings
from qsel.data.splits import ZeroShot
from qsel.experiments.config import Config, preset
from qsel.experiments.distributed import ALONE, Processes
from qsel.experiments.inputs import Features, Images
from qsel.experiments.record import (
    PACKAGES,
    RESULTS_VERSION,
    Record,
    RunError,
    command,
    versions,
    writable,
)
from qsel.experiments.rows import UNTRAINED
from qsel.experiments.training import (
    Trained,
    best_device,
    embed,
    evaluate,
    prepare,
    train,
    trunk_features,
)
from qsel.metrics import KS, hits_by_class

TOLERANCE = 0.03  # of a fraction: 3 points


@dataclass(frozen=True)
class Setup:
    """What is asked for: the data, the settings, and how to name them in a record.

    Attributes:
        data: training and unseen test classes.
        source: what ``--data`` names, without the folders around it.
        preset: the preset that ``config`` started from.
        config: every setting that changes the result.
    """

    data: ZeroShot
    source: str
    preset: str
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
        device: by default the fastest at hand.
        workers: processes that decode image files, see
            ``qsel.experiments.inputs.Images``.
        processes: those that do it together; they share the folder, and the first one
            writes.

    Raises:
        RunError: the folder holds a run of other settings or data, or cannot be written
            to; or the test part is too small for the metrics.
        TeamError: another process stopped.
        HierarchyError, ModelError, TrainingError: see
            ``qsel.experiments.training.train``.
    """
    done = finished(setup, folder)
    if done is not None:
        return done
    # Said before hours of work.
    evaluable(setup.data.test)
    writable(folder)
    method = setup.config.method
    device = device or best_device()
    # Half a run of one results version and half of another is a run of neither.
    checkpoint = folder / f"checkpoint-results{RESULTS_VERSION}.pt"
    for other in folder.glob("checkpoint*.pt"):
        if other != checkpoint and processes.rank == 0:
            other.unlink()
    trained = None
    if method in UNTRAINED:
        with processes.first():
            embeddings = untrained(setup, device, workers)
    else:
        trained = train(
            setup.data, setup.config, device, workers, checkpoint, processes=processes
        )
        embeddings = embed(trained.model, trained.test, processes)
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
    return Record(
        config=_settings(setup.config),
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
        device=_name(device, processes),
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
        features = torch.cat(
            [
                nn.functional.interpolate(
                    images, size=side, mode="bilinear", antialias=True
                ).flatten(1)
                for images in Images(
                    setup.data.test, config, device, workers
                ).everything()
            ]
        )
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
    fine = test.hierarchy.fine
    images = fine.bincount()
    needed = max(KS) + 1
    if len(fine) < needed:
        reason = f"{len(fine)} images; R@{max(KS)} needs {needed}"
    elif (images > 0).sum() < 2:
        reason = "one fine class; retrieval and clustering need two"
    elif images.max() < 2:
        reason = "one image of each fine class; MAP@R needs a class with two"
    else:
        return
    raise RunError(f"the test part has {reason}: give data with more to test on")


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
    if done.config != _settings(setup.config) or not same_data:
        raise RunError(
            f"{folder} holds another run ({done.command}); choose another folder, or "
            "remove it"
        )
    return done if done.versions.get("results") == RESULTS_VERSION else None


def repeat(path: Path, data: str | None = None) -> Record:
    """Run a record's command again, and compare the metrics.

    With the same packages on the same kind of processor they are equal, to the last
    bit. Elsewhere sums are rounded differently, and every step of the training enlarges
    the difference: each metric may then differ by ``TOLERANCE``, about as much as two
    seeds of a short run do.

    Args:
        path: of the record.
        data: what ``--data`` names now, if that is a folder: a record holds its name
            alone.

    Returns:
        The record of the repetition.

    Raises:
        RunError: a record of another results version or of other data, a command that
            failed, or metrics that differ by more; each is named.
    """
    record = Record.load(path)
    if record.versions.get("results") != RESULTS_VERSION:
        raise RunError(
            f"{path} is of results version {record.versions.get('results')}, and this "
            f"code of {RESULTS_VERSION}; run it again instead"
        )
    with tempfile.TemporaryDirectory(prefix="qsel-") as folder:
        _call_again(record.command, data, folder)
        again = Record.load(Path(folder) / "record.json")
    if without_names(again.data) != without_names(record.data):
        raise RunError(f"{path} is of other images; give them with --data")
    allowed = 0.0 if _computes_alike(record, again) else TOLERANCE
    gaps = {name: again.metrics[name] - was for name, was in record.metrics.items()}
    far = [
        f"{name} {100 * record.metrics[name]:.4f} → {100 * again.metrics[name]:.4f}"
        for name, gap in gaps.items()
        if abs(gap) > allowed
    ]
    if far:
        raise RunError(
            f"{path} is not repeated within {100 * allowed:g} points: "
            f"{', '.join(far)}; if the new values are right, raise RESULTS_VERSION in "
            "qsel/experiments/record.py"
        )
    return again


def _call_again(text: str, data: str | None, folder: str) -> None:
    """Call a record's command in a process of its own, with another output folder."""
    words = shlex.split(text)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if words[0].startswith("OMP_NUM_THREADS="):
        environment["OMP_NUM_THREADS"] = words.pop(0).partition("=")[2]
    place = words.index("--data") + 1
    if data is None and not words[place].startswith("synthcars"):
        raise RunError(
            f"the record is of the folder {words[place]!r}; say with --data where it is"
        )
    words[place] = data or words[place]
    python = Path(sys.executable)
    start = [python, "-m"] if words[0] == "qsel" else [python.with_name("torchrun")]
    words = [*map(str, start), *words[words[0] != "qsel" :], "--out", folder]
    if subprocess.run(words, env=environment, stdout=subprocess.DEVNULL).returncode:
        raise RunError(f"{text} failed; the reason stands above")


def _computes_alike(one: Record, other: Record) -> bool:
    """Whether two runs were made by the same packages on the same kind of processor."""
    names = ("python", *PACKAGES, "cpu")
    return one.device == other.device and all(
        one.versions.get(name) == other.versions.get(name) for name in names
    )


def load_model(
    setup: Setup,
    folder: Path,
    device: torch.device | None = None,
    workers: int | None = None,
) -> tuple[nn.Module, Images | Features, Images | Features]:
    """The trained network of a run, with its training and test inputs.

    Raises:
        RunError: no network in the folder, or one that does not fit the settings or
            the data; what does not fit is named.
    """
    path = folder / "model.pt"
    if not path.is_file():
        raise RunError(
            f"no trained network at {path}; run `qsel train` with --out first"
        )
    device = device or best_device()
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        shapes = {name: tuple(value.shape) for name, value in state.items()}
    except Exception as error:  # torch raises whatever it stumbles over
        raise RunError(
            f"{path} is no network that `qsel train` wrote; remove the folder and "
            "train again"
        ) from error
    config = setup.config
    if not config.freeze:  # the file holds the trunk's weights too
        config = replace(config, weights=None)
    model, train_inputs, test_inputs = prepare(setup.data, config, device, workers)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if shapes != expected:
        raise RunError(
            f"the network in {path} {_misfit(shapes, expected, setup, folder)}"
        )
    model.load_state_dict(state)
    return model.eval(), train_inputs, test_inputs


def _misfit(
    saved: dict[str, tuple[int, ...]],
    expected: dict[str, tuple[int, ...]],
    setup: Setup,
    folder: Path,
) -> str:
    """Why a saved network does not fit, and what to do, as the end of a sentence."""
    names = [*saved, *(name for name in expected if name not in saved)]
    unlike = [name for name in names if saved.get(name) != expected.get(name)]
    if all(re.fullmatch(r"(head\.)?(coarse|fine)\.\w+", name) for name in unlike):
        wanted, held = (
            " and ".join(
                f"{shapes[name][0]} {level}"
                for level in ("coarse", "fine")
                for name in shapes
                if name.endswith(f"{level}.bias")
            )
            for shapes in (expected, saved)
        )
        return (
            f"was trained on {held} classes, but the training part of "
            f"{setup.data.name} has {wanted}; give data with as many classes"
        )
    asked, recorded = _settings(setup.config), {}
    if (folder / "record.json").is_file():
        recorded = Record.load(folder / "record.json").config
    for settings in (("trunk", "freeze", "whiten", "embedding_dim"), ("image_size",)):
        changed = [s for s in settings if recorded.get(s, asked[s]) != asked[s]]
        if changed:
            was = ", ".join(f"{name}={recorded[name]}" for name in changed)
            now = ", ".join(f"{name}={asked[name]}" for name in changed)
            return (
                f"was trained with {was}, not {now}; leave these settings as recorded"
            )
    if not saved.keys() & expected.keys():
        return "has none of the expected tensors; remove the folder and train again"
    name = unlike[0]
    return (
        f"holds {name} of shape {saved.get(name, 'none')}, but the settings make it "
        f"{expected.get(name, 'none')}; evaluate with the settings, package and data "
        "that it was trained with"
    )


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


def trained_classes(record: Record, data: ZeroShot) -> list[str] | None:
    """The fine classes to be tested that a run was trained on; None: not known.

    Records did not always name the classes. One that does not is of this split if its
    training images are the same, and no split tests what it trains on.

    Args:
        record: of the run.
        data: to test on, which need not be what the run was trained on.
    """
    if "trained on" in record.data:
        known = set(record.data["trained on"])
        return [name for name in data.test.hierarchy.fine_names if name in known]
    recorded = record.data.get("train", {}).get("fingerprint")
    return [] if recorded == data.train.fingerprint else None


def without_names(described: dict[str, object]) -> dict[str, object]:
    """What records have always said of the data; fingerprints cover the names too."""
    return {key: value for key, value in described.items() if key != "trained on"}


def _settings(config: Config) -> dict[str, object]:
    """The settings as recorded: of a weights file its name, without its folders."""
    settings = config.to_dict()
    if config.weights:
        settings["weights"] = Path(config.weights).name
    return settings


def _name(device: torch.device, processes: int) -> str:
    name = f"{device.type}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return name if processes == 1 else f"{processes} × {name}"
