"""The trained network of a run, loaded again."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from qsel.experiments.network import Inputs, best_device, prepare
from qsel.experiments.record import RunError
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
    for name in [*expected, *shapes]:
        if shapes.get(name) != expected.get(name):
            raise RunError(
                f"the network in {path} does not fit: {name} has shape "
                f"{shapes.get(name, 'none')}, and the settings and {setup.data.name} "
                f"make it {expected.get(name, 'none')}; evaluate with the settings "
                "that it was trained with, and with as many classes"
            )
    model.load_state_dict(state)
    return model.eval(), train_inputs, test_inputs
