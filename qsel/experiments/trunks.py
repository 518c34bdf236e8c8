"""The trunks that a configuration can name, without their last layer."""

import importlib
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import fx, nn
from torchvision.ops import Conv2dNormActivation as convolution
from torchvision.transforms import InterpolationMode

from qsel.data.files import first_line
from qsel.data.machine import fresh_settings
from qsel.experiments.config import Config


class ModelError(ValueError):
    """A trunk or weights that cannot be used."""


@dataclass(frozen=True)
class Preprocessing:
    """What a trunk's weights expect of an image, beside its size."""

    mean: tuple[float, float, float]  # of each channel, for pixels from 0 to 1
    std: tuple[float, float, float]
    interpolation: InterpolationMode = InterpolationMode.BILINEAR  # to resize


# Of most ImageNet weights, and of the small trunk's.
IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def preprocessing(name: str, trunk: nn.Module | None = None) -> Preprocessing:
    """What the trunk of this name expects of an image.

    torchvision says it for its weights. A function's module says it in attributes
    ``mean``, ``std`` and ``interpolation`` ("bilinear", "bicubic", …); what it leaves
    out is that of ImageNet.

    Example:
        >>> preprocessing("efficientnet_b0").interpolation.value
        'bicubic'
    """
    if name in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(name):
            said = weights.transforms()
            mean, std = tuple(said.mean), tuple(said.std)
            return Preprocessing(mean, std, said.interpolation)
    return Preprocessing(
        tuple(getattr(trunk, "mean", IMAGENET.mean)),
        tuple(getattr(trunk, "std", IMAGENET.std)),
        InterpolationMode(getattr(trunk, "interpolation", IMAGENET.interpolation)),
    )


@fresh_settings()
def build_trunk(config: Config) -> tuple[nn.Module, int]:
    """The trunk a configuration names, (B, 3, H, W) → (B, features), and ``features``.

    Raises:
        ModelError: no such trunk, weights that cannot be had or do not fit, or a
            module that does not return (B, features).

    Example:
        >>> build_trunk(Config(trunk="small", weights=None))[1]
        192
    """
    if ":" in config.trunk:
        trunk = _call(config.trunk)
        _load(trunk, config.weights)
    elif config.trunk == "small":
        if config.weights == "imagenet":
            raise ModelError(
                "the small trunk has no ImageNet weights; set weights=none, or give a "
                "file"
            )
        trunk = small_trunk()
        _load(trunk, config.weights)
    else:
        trunk = _torchvision_trunk(config.trunk, config.weights)
    return trunk, _width(trunk, config)


def small_trunk() -> nn.Sequential:
    """Six convolutions, (B, 3, H, W) → (B, 192): trains from nothing on a CPU."""

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
        return getattr(importlib.import_module(module), function)()
    except Exception as error:  # a user's function may raise anything
        raise ModelError(
            f"trunk={name!r} could not be made: {first_line(error)}; expected "
            "'package.module:function', importable from here (see PYTHONPATH), called "
            "without arguments"
        ) from error


def _load(trunk: nn.Module, path: str | None) -> None:
    if path in (None, "imagenet"):
        return
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


def split_trunk(trunk: nn.Module, name: str) -> tuple[nn.Module, nn.Module]:
    """A trunk cut in front of a module of that name: what comes before, and the rest.

    It is traced by ``torch.fx``, in evaluation mode.

    Raises:
        ModelError: no such module, a trunk that cannot be traced, or more than one
            tensor that is handed over there.

    Example:
        >>> lower, upper = split_trunk(small_trunk(), "7")
        >>> upper(lower(torch.zeros(1, 3, 32, 32))).shape
        torch.Size([1, 192])
    """
    names = [known for known, _ in trunk.named_modules() if known]
    if name not in names:
        raise ModelError(
            f"freeze=until:{name}: the trunk has no module of that name; its modules "
            f"are {', '.join(n for n in names if n.count('.') < 2)}"
        )
    try:
        traced = fx.symbolic_trace(trunk.eval())
    except Exception as error:  # of code that cannot be traced, anything
        raise ModelError(
            f"freeze=until:{name}: the trunk cannot be traced ({first_line(error)}); "
            "set freeze to none or trunk"
        ) from error
    nodes = list(traced.graph.nodes)
    first = next((i for i, node in enumerate(nodes) if _inside(node, name)), 0)
    over = {x for node in nodes[first:] for x in node.all_input_nodes}
    over &= set(nodes[:first])
    if len(over) != 1 or (cut := over.pop()).op == "placeholder":
        raise ModelError(
            f"freeze=until:{name}: not one tensor alone is handed over there, or none "
            "is made before; give a module at which the trunk's branches have met"
        )
    lower, upper = fx.Graph(), fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in nodes[:first]:
        copied[node] = lower.node_copy(node, copied.__getitem__)
    lower.output(copied[cut])
    copied = {cut: upper.placeholder("activations")}
    for node in nodes[first:]:
        copied[node] = upper.node_copy(node, copied.__getitem__)
    return fx.GraphModule(traced, lower), fx.GraphModule(traced, upper)


def _inside(node: fx.Node, name: str) -> bool:
    above = [*node.meta.get("nn_module_stack", {})]
    above += [node.target] if node.op == "call_module" else []
    return any(f"{path}.".startswith(f"{name}.") for path in above)


@torch.no_grad()
def _width(trunk: nn.Module, config: Config) -> int:
    try:
        was_training = trunk.training
        out = trunk.eval()(torch.zeros(1, 3, config.image_size, config.image_size))
        trunk.train(was_training)
        _, width = out.shape
        return width
    except Exception as error:
        raise ModelError(
            f"trunk={config.trunk!r} cannot take images of image_size="
            f"{config.image_size} ({first_line(error)}); expected a module "
            "that turns (B, 3, S, S) into (B, features), and a size that suits it"
        ) from error
