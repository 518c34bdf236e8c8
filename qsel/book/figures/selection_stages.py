"""What a rule selects, in numbers: for all references at once, and as training goes."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from pandas.io.formats.style import Styler
from torch import Tensor

from qsel import losses
from qsel.book.figures import maps
from qsel.book.figures.outcomes import show_table
from qsel.hierarchy import Hierarchy
from qsel.selection import Quadruplets

ORDER, ZERO, HINGES = "in order", "zero loss", "hinges of (5)"
RADIUS, INSIDE = "mean D(R,N)", "in the sphere"
COLUMNS = ("P⁺ inside", "P⁻ inside", ORDER, ZERO, HINGES, RADIUS, INSIDE)


def numbers(
    embeddings: Tensor,
    chosen: Quadruplets,
    labels: Hierarchy,
    margins: tuple[float, float] = (losses.MARGIN1, losses.MARGIN2),
) -> dict[str, float]:
    """What B quadruplets have in common, as means over them.

    Args:
        embeddings: (N, D).
        chosen: B quadruplets, indices into the N.
        labels: of the N samples.
        margins: m₁ and m₂ of equation (5).

    Returns:
        "P⁺ inside" and "P⁻ inside": the share no further from R than N. "in order": the
        share with D(R,P⁺) < D(R,P⁻) < D(R,N). "zero loss": the share whose two hinges
        of (5) are both zero. "hinges of (5)": their mean sum. "mean D(R,N)". "in the
        sphere": the mean number of samples of R's coarse class nearer to R than N.

    Example:
        >>> labels = Hierarchy.from_names(list("aabc"), list("xxxy"))
        >>> x = torch.tensor([[0.0], [0.1], [0.6], [1.0]])
        >>> q = Quadruplets(*torch.arange(4)[:, None])
        >>> found = numbers(x, q, labels)
        >>> found["in order"], found["zero loss"], found["in the sphere"]
        (1.0, 1.0, 2.0)
    """
    r, *others = (embeddings[i].double() for i in chosen.stack())  # (B, D) each
    d_pp, d_pn, d_n = (losses.distance(r, other) for other in others)  # (B,)
    hinges = losses.joint_loss(r, *others, 0.0, *margins, reduction="none")  # (B,)
    found = (
        d_pp <= d_n,
        d_pn <= d_n,
        (d_pp < d_pn) & (d_pn < d_n),
        hinges == 0,
        hinges,
        d_n,
        maps.count_inside(embeddings, chosen, labels),
    )
    means = (value.double().mean().item() for value in found)
    return dict(zip(COLUMNS, means, strict=True))


def stages(
    before: Mapping[str, float],
    curve: Sequence[Mapping[str, float]],
    after: Mapping[str, float],
    most: int = 3,
) -> pd.DataFrame:
    """One row a stage: before training, some epochs, and after it.

    Weights are kept at the end only. Of an epoch there is what the record's curve
    holds, two columns: means over the steps, as drawn and with dropout.

    Args:
        before: as ``numbers`` gives them, of the untrained network.
        curve: of the run's record, one entry an epoch.
        after: of the trained network.
        most: epochs to show, the first and the last among them.

    Example:
        >>> curve = [dict(epoch=e, zero=0.1, distance=0.4) for e in range(1, 6)]
        >>> table = stages(dict.fromkeys(COLUMNS, 0.0), curve, {"zero loss": 0.5})
        >>> table.index.tolist()
        ['before', 'epoch 1', 'epoch 3', 'epoch 5', 'after']
    """
    places = torch.linspace(0, max(0, len(curve) - 1), min(most, len(curve)))
    rows: dict[str, Mapping[str, float]] = {"before": before}
    for place in dict.fromkeys(places.round().int().tolist()):
        entry = curve[place]
        seen = {ZERO: entry["zero"], HINGES: entry["distance"]}
        rows[f"epoch {entry['epoch']}"] = seen
    rows["after"] = after
    return pd.DataFrame(rows, index=list(COLUMNS)).T


def show(table: pd.DataFrame, name: str) -> Styler:
    """A table of such numbers for a page: a dash for what was not kept.

    Args:
        table: columns as in ``COLUMNS``.
        name: of the index.
    """
    styled = show_table(table, name)
    digits = dict.fromkeys(COLUMNS, "{:.3f}") | {INSIDE: "{:.1f}"}
    return styled.format(digits, na_rep="–", escape="html")
