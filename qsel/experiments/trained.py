"""The trained network of a run: loaded again, and what it was trained on."""

import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from qsel.data.splits import ZeroShot
from qsel.experiments.network import Inputs, best_device, prepare
from qsel.experiments.record import Record, RunError, recorded_settings
from qsel.experiments.run import Setup


def load_model(
    setup: Setup,
    folder: Path,
    device: torch.device | None = None,
    workers: int | None = None,
) -> tuple[nn.Module, Inputs, Inputs]:
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
    if config.freeze == "none":  # the file holds the trunk's weights too
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
    asked, recorded = recorded_settings(setup.config), {}
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
