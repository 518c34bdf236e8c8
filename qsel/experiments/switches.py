"""The decisions that an ablation takes otherwise, one at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qsel.experiments.config import Config
from qsel.experiments.rows import QUADRUPLETS
from qsel.losses import GLOBAL_WEIGHT

ONE, TWO = ("method1",), ("method2",)


@dataclass(frozen=True)
class Ablation:
    """One decision, taken otherwise.

    Attributes:
        words: what is done instead, in few words.
        settings: what changes; a function is given the row's own settings.
        rows: the rows it is run with.
        erratum: its number in the errata, if the paper leaves the decision open.
        options: of the data source.
        shared: the setting that suits the four quadruplet rows best is taken first.
    """

    words: str
    settings: Mapping[str, object | Callable[[Config], object]]
    rows: tuple[str, ...] = TWO
    erratum: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    shared: bool = False

    def changed(self, base: Config) -> dict[str, object]:
        """The settings that change, for a row whose own settings are ``base``.

        Example:
            >>> SWITCHES["global_heavy"].changed(Config(batch=32))
            {'global_weight': 32.0}
        """
        return {
            name: value(base) if callable(value) else value
            for name, value in self.settings.items()
        }


SWITCHES = {
    # The losses.
    "lambda_swapped": Ablation(
        "the two class weights exchanged: coarse 0.25, fine 0.08",
        dict(coarse_weight=0.25, fine_weight=0.08),
        erratum=2,
    ),
    "margin_derived": Ablation(
        "m₁ instead of m₁ − m₂ in equation (5)", dict(first_margin="derived"), erratum=3
    ),
    "variance_unbiased": Ablation(
        "variance divided by B − 1", dict(variance="unbiased"), erratum=4
    ),
    "variance_squared": Ablation(
        "variance of D²/4, as in the original global loss",
        dict(variance="squared"),
        erratum=4,
    ),
    # The tuned learning rate belongs to embeddings of unit length.
    "unnormalised": Ablation(
        "embeddings of any length, learning rate 0.0001",
        dict(normalise=False, learning_rate=0.0001),
        erratum=6,
    ),
    # The selection.
    "refresh_5": Ablation("embedded again every 5 steps", dict(refresh=5), erratum=7),
    "refresh_epoch": Ablation(
        "embedded again once an epoch", dict(refresh=None), erratum=7
    ),
    "fallback_nearest": Ablation(
        "nothing outside the sphere: the candidate nearest to N",
        dict(fallback="nearest"),
        ONE,
        erratum=8,
    ),
    "siblings_coarse": Ablation(
        "P⁻ from the whole coarse class, R's fine class included",
        dict(siblings="coarse"),
        ONE,
        erratum=9,
    ),
    "siblings_drawn": Ablation(
        "P⁻ from one sibling class, drawn", dict(siblings="drawn"), ONE, erratum=10
    ),
    "siblings_all": Ablation(
        "P⁻ from all sibling classes", dict(siblings="all"), erratum=10
    ),
    "random_negative": Ablation(
        "the sphere around a random negative", dict(negative="random"), ONE + TWO
    ),
    # The experiment.
    "body9": Ablation(
        "nine body types as coarse classes",
        {},
        QUADRUPLETS,
        erratum=11,
        options=dict(coarse="body9"),
    ),
    "warmup_2": Ablation(
        "two first epochs with random quadruplets", dict(warmup=2), erratum=13
    ),
    "margins_small": Ablation(
        "margins 0.35 and 0.15", dict(margin1=0.35, margin2=0.15)
    ),
    "margins_large": Ablation("margins 1.0 and 0.5", dict(margin1=1.0, margin2=0.5)),
    "margins_wide": Ablation("margins 0.9 and 0.2", dict(margin1=0.9, margin2=0.2)),
    "global_heavy": Ablation(
        "the global loss B times heavier than printed",
        dict(global_weight=lambda base: base.batch * GLOBAL_WEIGHT),
        erratum=5,
    ),
    "no_global": Ablation("without the global loss", dict(global_weight=0.0)),
    "no_classification": Ablation(
        "without the class heads' loss", dict(coarse_weight=0.0, fine_weight=0.0)
    ),
    "same_settings": Ablation(
        "one setting for the four rows", {}, QUADRUPLETS, shared=True
    ),
}
