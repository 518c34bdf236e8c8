"""The trunks that a configuration can name, without their last layer."""

import importlib
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from qsel.data.files import first_line
from qsel.data.machine import fresh_settings
from qsel.experiments.config import Config


class ModelError(ValueError):
    """A trunk or weights that cannot be used."""


@fresh_settings()
def build_trunk(config: Config) -> tuple[nn.Module, int]:
    """The trunk a configuration names, and the width of its features.

    Args:
        config: ``trunk``, ``weights`` and ``image_size``.

    Returns:
        A module (B, 3, H, W) → (B, features), and ``features``.

    Raises:
        ModelError: no such trunk, weights that cannot be had or do not fit, or a
            module that does not return (B, features).

    Example:
        >>> build_trunk(Config(trunk="small", weights=None))[1]
        192
    """
    if ":" in config.trunk:
        trunk = _call(config.trunk)
        if config.weights not in (None, "imagenet"):
            _load(trunk, config.weights)
    elif config.trunk == "small":
        trunk = small_trunk()
        if config.weights == "imagenet":
            raise ModelError(
                "the small trunk has no ImageNet weights; set weights=none, or give a "
                "file"
            )
        if config.weights is not None:
            _load(trunk, config.weights)
    else:
        trunk = _torchvision_trunk(config.trunk, config.weights)
    return trunk, _width(trunk, config)


def small_trunk() -> nn.Sequential:
    """Six convolutions, (B, 3, H, W) → (B, 192): trains from nothing on a CPU."""

    def convolution(inside: int, out: int, stride: int = 1) -> list[nn.Module]:
        return [
            nn.Conv2d(inside, out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
        ]

    return nn.Sequential(
        *convolution(3, 24, stride=2),
        *convolution(24, 24),
        nn.MaxPool2d(2),
        *convolution(24, 48),
        nn.MaxPool2d(2),
        *convolution(48, 96),
        *convolution(96, 96),
        *convolution(96, 192),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def _torchvision_trunk(name: str, weights: str | None) -> nn.Module:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ModelError(
            f"trunk={name!r}; expected 'small', a torchvision classification model "
            "(such as 'resnet50' or 'resnet101'), or 'package.module:function'"
        )
    pretrained = None
    if weights == "imagenet":
        # The first version is the one that existed when the paper was written.
        pretrained = next(iter(torchvision.models.get_model_weights(name)))
    try:
        trunk = torchvision.models.get_model(name, weights=pretrained)
    except OSError as error:
        raise ModelError(
            f"the ImageNet weights of {name} could not be downloaded ({error}); on a "
            "machine with internet access fetch them once, then set weights to the file"
        ) from error
    if weights not in (None, "imagenet"):
        _load(trunk, weights)
    if hasattr(trunk, "aux_logits"):  # GoogLeNet and Inception train side branches
        trunk.aux_logits = False
    linear = [n for n, m in trunk.named_modules() if isinstance(m, nn.Linear)]
    if not linear:
        raise ModelError(
            f"{name} ends in no fully connected layer to take off; give it as "
            "'package.module:function' that returns (B, features)"
        )
    trunk.set_submodule(linear[-1], nn.Identity())
    return trunk


def _call(name: str) -> nn.Module:
    module, _, function = name.partition(":")
    try:
        trunk = getattr(importlib.import_module(module), function)()
    except Exception as error:  # a user's function may raise anything
        raise ModelError(
            f"trunk={name!r} could not be made: {first_line(error)}; expected "
            "'package.module:function', importable from here (see PYTHONPATH), called "
            "without arguments"
        ) from error
    if not isinstance(trunk, nn.Module):
        raise ModelError(
            f"trunk={name!r} returned a {type(trunk).__name__}; expected a torch module"
        )
    return trunk


def _load(trunk: nn.Module, path: str) -> None:
    if not Path(path).is_file():
        raise ModelError(f"no weights at {path}; expected 'imagenet', a file, or none")
    try:
        trunk.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise ModelError(
            f"the weights in {path} could not be loaded: {first_line(error)}; expected "
            "the state_dict of this trunk, saved whole with torch.save; give another "
            "file, or weights=none"
        ) from error


@torch.no_grad()
def _width(trunk: nn.Module, config: Config) -> int:
    was_training = trunk.training
    try:
        out = trunk.eval()(torch.zeros(1, 3, config.image_size, config.image_size))
    except Exception as error:
        raise ModelError(
            f"trunk={config.trunk!r} cannot take images of image_size="
            f"{config.image_size} ({first_line(error)}); expected a module "
            "that turns (B, 3, S, S) into (B, features), and a size that suits it"
        ) from error
    trunk.train(was_training)
    if not isinstance(out, Tensor) or out.ndim != 2:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ModelError(
            f"trunk={config.trunk!r} turns one image into {shape}; expected a tensor "
            "of shape (1, features)"
        )
    return out.shape[1]
