"""Every setting that changes a result, in one place.

``PAPER`` names the fields whose default the paper gives; it does not give the others,
and each preset says what it takes for them.
"""

import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from qsel import losses
from qsel.experiments import row_names
from qsel.experiments.tuned import TUNED

CHOICES = {
    "method": row_names.ALL,
    "negative": ("nearest", "random"),
    "siblings": ("own rule", "all", "drawn", "coarse"),
    "fallback": ("furthest", "nearest"),
    "first_margin": ("difference", "derived"),
    "variance": ("biased", "unbiased", "squared"),
    "reduction": ("mean", "sum"),
    "optimiser": ("sgd", "adamw"),
    "schedule": ("constant", "cosine", "one-cycle"),
    "batch_norm": ("updated", "fixed"),
    "precision": ("float32", "bfloat16"),
}
# Smallest and largest value, both included.
RANGES = {
    "seed": (0, 2**31 - 1),
    "margin1": (0, 1e6),
    "margin2": (0, 1e6),
    "coarse_weight": (0, 1e6),
    "fine_weight": (0, 1e6),
    "global_weight": (0, 1e6),
    "margin": (0, 1e6),
    "dropout": (0, 0.99),
    "crop_scale": (0.01, 1),
    "views": (1, 10**4),
    "whiten": (0, 1),
    "embedding_dim": (1, 2**16),
    "image_size": (1, 2**12),
    "resize": (1, 2**12),
    "learning_rate": (0, 1e3),
    "trunk_rate": (0, 1e3),
    "momentum": (0, 1),
    "weight_decay": (0, 1e3),
    "batch": (1, 2**20),
    "images_per_class": (2, 2**20),
    "epochs": (0, 10**6),
    "last_epoch": (1, 10**6),
    "refresh": (1, 10**9),
    "warmup": (0, 10**6),
}


@dataclass(frozen=True)
class Config:
    """Settings of one run; the defaults are those of the ``paper`` preset.

    Raises:
        ValueError: a value of the wrong kind or out of range; the field is named.

    Example:
        >>> Config().with_settings({"seed": "3", "refresh": "none"}).seed
        3
    """

    # The row of Table 1, and which of its runs.
    method: str = "method2"  # see qsel.experiments.rows
    seed: int = 0  # of weights, order of references, augmentation and draws

    # What the paper leaves open in Methods 1 and 2, see qsel.selection.
    negative: str = "nearest"  # "random": the hypersphere around a random negative
    siblings: str = "own rule"  # where P⁻ comes from; the other three are fixed rules
    fallback: str = "furthest"  # of Method 1 where no candidate lies outside

    # Equations (3)–(6).
    margin1: float = losses.MARGIN1  # m1 = t1
    margin2: float = losses.MARGIN2  # m2 = t2
    coarse_weight: float = losses.COARSE_WEIGHT  # λ_c1
    fine_weight: float = losses.FINE_WEIGHT  # λ_c2
    global_weight: float = losses.GLOBAL_WEIGHT  # η
    first_margin: str = "difference"  # m1 - m2 in (5), as printed; "derived": m1
    variance: str = "biased"  # of (3), see qsel.losses
    reduction: str = "mean"  # of (5) over the batch; "sum", as printed

    # The other rows, see qsel.experiments.rivals.
    margin: float | None = None  # a row's own margin or scale; none: its authors'

    # The network (Figure 1).
    trunk: str = "resnet101"  # a torchvision model, "small", or package.module:function
    weights: str | None = "imagenet"  # "imagenet", "synthcars" (see pretraining), a
    #                                   file, or none: start at random. A function's
    #                                   trunk keeps its own, unless this is a file
    # "none"; "trunk": only what follows it trains, on its cached features; or
    # "until:NAME": the trunk trains from its module NAME on, on cached activations
    freeze: str = "none"
    batch_norm: str = "updated"  # the trunk's running statistics; "fixed": as loaded
    whiten: float | None = None  # frozen features: share of whitening, see qsel.model
    embedding_dim: int = 1024  # the last fully connected layer
    normalise: bool = True  # embeddings of unit length
    dropout: float = 0.0  # in front of the last fully connected layer

    # The images.
    resize: int = 256  # shorter side in evaluation, in pixels, before the centre crop
    image_size: int = 224  # side of the crop, in pixels
    augment: bool = True  # random resized crop and horizontal flip in training
    crop_scale: float = 0.2  # smallest share of the area in a random resized crop
    views: int = 12  # random crops of each image whose activations are cached

    # The optimisation.
    optimiser: str = "sgd"  # stochastic gradient descent
    learning_rate: float = 0.0003
    trunk_rate: float = 1.0  # the trunk's learning rate, in learning rates
    momentum: float = 0.9  # of "sgd"
    weight_decay: float = 0.0
    # "cosine": the rate falls to 0; "one-cycle": it rises from 0 first
    schedule: str = "constant"
    precision: str = "bfloat16"  # of products in the network; weights have float32
    batch: int = 32  # references a step; four times as many images
    images_per_class: int = 4  # at least; of Semi-Hard, Lifted Structure, Clustering
    epochs: int = 30  # passes over the references
    last_epoch: int | None = None  # stop after it, as if all ``epochs`` followed
    refresh: int | None = None  # steps between re-embeddings; none: once an epoch
    warmup: int = 0  # first epochs with random quadruplets, of the rows with any

    def __post_init__(self):
        for field in fields(self):
            _check(field.name, getattr(self, field.name), _kinds(field.type))
        if self.image_size > self.resize:
            raise ValueError(
                f"image_size={self.image_size} is larger than resize={self.resize}, so "
                "the centre crop would be padded; raise resize"
            )
        kind, _, name = self.freeze.partition(":")
        if self.freeze not in ("none", "trunk") and (kind != "until" or not name):
            raise ValueError(
                f"freeze={self.freeze!r}; expected none, trunk, or until:NAME with a "
                "module of the trunk, such as until:layer4 of resnet101"
            )
        if self.whiten is not None and self.freeze != "trunk":
            raise ValueError("whiten acts on frozen features; set freeze=trunk")

    def with_settings(self, settings: Mapping[str, object]) -> "Config":
        """A copy with some settings replaced; text is read as the field's kind.

        Raises:
            ValueError: an unknown setting, or a value of the wrong kind or range; all
                that are wrong are named.
        """
        kinds = {field.name: _kinds(field.type) for field in fields(self)}
        read, wrong = {}, []
        for name, value in settings.items():
            try:
                if name in kinds:
                    text = isinstance(value, str)
                    read[name] = _read(name, value, kinds[name]) if text else value
                    _check(name, read[name], kinds[name])
            except ValueError as error:
                wrong.append(str(error))
        if unknown := ", ".join(repr(name) for name in sorted({*settings} - {*kinds})):
            wrong.append(
                f"unknown setting {unknown}; expected one of {', '.join(kinds)}"
            )
        if wrong:
            raise ValueError("; ".join(wrong))
        return replace(self, **read)

    def to_dict(self) -> dict[str, object]:
        """Field → value, ready for JSON."""
        return asdict(self)


PAPER = frozenset(
    {
        *("margin1", "margin2", "coarse_weight", "fine_weight", "global_weight"),
        *("first_margin", "trunk", "weights", "embedding_dim"),
        *("learning_rate", "momentum"),
    }
)

# What each preset takes where it departs from the defaults above. Nothing here is from
# the paper.
_LAPTOP = dict(
    trunk="small",
    weights="synthcars",
    image_size=48,
    resize=48,
    crop_scale=0.6,
    learning_rate=0.1,
    schedule="cosine",
    precision="float32",
    batch=16,
    global_weight=16.0,  # the global loss B times heavier than printed
    epochs=2,  # where a row is not tuned
)
PRESETS: dict[str, dict[str, object]] = {
    "paper": {},
    # SynthCars from a pre-trained small trunk, minutes on two CPU cores.
    "laptop": _LAPTOP,
    # The same path in seconds: shows that everything runs, not what it learns.
    "smoke": _LAPTOP | dict(learning_rate=0.01, embedding_dim=64, epochs=1),
    # A linear layer on frozen, cached features.
    "frozen": dict(
        freeze="trunk",
        precision="float32",
        whiten=0.2,
        dropout=0.6,
        learning_rate=0.03,
        batch=128,
        global_weight=128.0,  # as in laptop
        epochs=14,
        refresh=20,
    ),
    # The trunk's upper part, on cached activations of the lower one.
    "upper": dict(
        freeze="until:layer4",  # of the ResNets; other trunks have other names
        batch_norm="fixed",
        resize=160,
        image_size=160,
        dropout=0.3,
        optimiser="adamw",
        learning_rate=0.002,
        trunk_rate=0.25,
        weight_decay=0.001,
        schedule="one-cycle",
        epochs=2,
        refresh=50,
    ),
}

# By their own papers these compare embeddings of any length.
ROW_SETTINGS: dict[str, dict[str, object]] = {
    "lifted_structure": dict(normalise=False),
    "n_pairs": dict(normalise=False),
}
# Longer embeddings have larger gradients: how much smaller these rows' learning rates
# are where they are not tuned, and where they are searched for. Placed by a few runs on
# validation classes.
RATE_DIVISORS = {"lifted_structure": 30, "n_pairs": 300}


def preset(name: str, method: str = "method2") -> Config:
    """The settings of a preset, as tuned for a method.

    Raises:
        ValueError: no preset of that name, or no such method.

    Example:
        >>> preset("paper").learning_rate
        0.0003
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; expected one of {', '.join(PRESETS)}")
    tuned = TUNED.get((name, method), {})
    own = ROW_SETTINGS.get(method, {})
    found = Config(**(PRESETS[name] | own | {"method": method}))
    smaller = RATE_DIVISORS.get(method, 1) if found.optimiser == "sgd" else 1
    return found.with_settings({"learning_rate": found.learning_rate / smaller} | tuned)


def _kinds(annotation: object) -> tuple[type, ...]:
    return typing.get_args(annotation) or (annotation,)


def _check(name: str, value: object, kinds: tuple[type, ...]) -> None:
    if type(value) not in kinds and not (type(value) is int and float in kinds):
        raise ValueError(f"{name}={value!r}; expected {_spell(kinds)}")
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(
            f"{name}={value!r}; expected one of {', '.join(CHOICES[name])}"
        )
    low, high = RANGES.get(name, (None, None))
    if value is not None and low is not None and not low <= value <= high:
        raise ValueError(f"{name}={value}; expected from {low} to {high}")


def _read(name: str, text: str, kinds: tuple[type, ...]) -> object:
    if type(None) in kinds and text.lower() == "none":
        return None
    if bool in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float, str):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                break
    raise ValueError(f"{name}={text!r}; expected {_spell(kinds)}")


def _spell(kinds: tuple[type, ...]) -> str:
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        type(None): "none",
    }
    return " or ".join(words[kind] for kind in kinds)
