"""Pictures of chapters 1 to 3.2 and 5; the curves come from ``qsel.losses`` itself.

Roles keep their look: R and P⁺ are circles, P⁻ a square of their colour (same coarse
class, other fine class), N a triangle of another colour (other coarse class).
"""

import math
from collections.abc import Callable, Sequence

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from qsel import losses
from qsel.book.figures import SHORT, WIDTH, blank, coarse_colours, picture
from qsel.data.images import ImageSet
from qsel.experiments.comparison import paired

# Colour for the coarse class, marker for the fine one.
R, P_PLUS, P_MINUS, N = "$R$", "$P^+$", "$P^-$", "$N$"
_OURS, _OTHER = coarse_colours(2)
COLOUR = {R: _OURS, P_PLUS: _OURS, P_MINUS: _OURS, N: _OTHER}
MARKER = {R: "o", P_PLUS: "o", P_MINUS: "s", N: "^"}


def neighbours(
    images: ImageSet,
    queries: Sequence[int],
    nearest: Tensor,
    rows_are: Sequence[str] = (),
) -> Figure:
    """Query images, and beside each its nearest others: same model, type, or neither.

    Args:
        images: the test images.
        queries: Q indices, one row each.
        nearest: (Q, K) indices of the nearest others, nearest first.
        rows_are: Q names that stand at the rows.
    """
    rows, columns = nearest.shape[0], nearest.shape[1] + 1
    figure = blank(WIDTH, 1.2 * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    labels = images.hierarchy
    for row, (query, found) in enumerate(zip(queries, nearest.tolist(), strict=True)):
        for column, i in enumerate([query, *found]):
            ax = axes[row, column]
            picture(ax, images[i])
            if column == 0:
                text, colour, width = "query", "black", 1
            elif labels.fine[i] == labels.fine[query]:
                text, colour, width = "✓ model", COLOUR[R], 3
            elif labels.coarse[i] == labels.coarse[query]:
                text, colour, width = "same type", COLOUR[P_MINUS], 1
            else:
                text, colour, width = "other type", COLOUR[N], 1
            ax.set_xlabel(text, fontsize=9)
            ax.spines[:].set(color=colour, linewidth=width)
            if column == 0 and rows_are:
                ax.set_ylabel(rows_are[row], fontsize=9)
            if row == 0 and column:
                ax.set_title(f"nearest {column}" if column == 1 else str(column))
    return figure


def contrastive_curve(margin: float = 1.0) -> Figure:
    """Equation (1) against the distance, for a same and for a different pair."""
    d = torch.linspace(0, 2, 201)
    origin, at = torch.zeros(len(d), 1), d[:, None]  # (B, 1) each
    figure = blank(WIDTH, 3.2)
    ax = figure.subplots()
    for same, text, role in ((1, "same class", P_PLUS), (0, "different classes", N)):
        loss = losses.contrastive_loss(
            origin, at, torch.full_like(d, same), margin, reduction="none"
        )
        ax.plot(d, loss, "-" if same else "--", color=COLOUR[role], label=text)
    ax.axvline(margin, color="0.5", lw=0.8)
    ax.text(margin + 0.03, 2.6, f"margin α = {margin:g}", color="0.3")
    ax.set(
        xlabel="distance $D_{i,j}$", ylabel="loss (squared distance)", ylim=(-0.1, 4.1)
    )
    ax.legend(loc="upper left")
    return figure


def triplet_map(margin: float = 0.5) -> Figure:
    """Equation (2) over both distances, with the region where it is zero."""
    side = torch.linspace(0, 2, 81)
    d_p, d_n = torch.meshgrid(side, side, indexing="xy")  # rows are D(R,N)
    flat = (torch.zeros(d_p.numel(), 1), d_p.reshape(-1, 1), d_n.reshape(-1, 1))
    loss = losses.triplet_loss(*flat, margin, reduction="none").reshape(d_p.shape)
    figure = blank(WIDTH, 4.1)
    ax = figure.subplots()
    levels = torch.arange(0, 4.76, 0.25).tolist()
    shades = ax.contourf(side, side, loss, levels, cmap="cividis_r")
    inside = (loss == 0).float()
    zero = ax.contourf(side, side, inside, [0.5, 1.5], colors="white", hatches=["//"])
    zero.set(edgecolor="0.6", linewidth=0)
    ax.plot(side, (side**2 + margin).sqrt(), color="black", lw=1.5)
    ax.plot(side, side, color="black", lw=1, ls=":")
    ax.annotate("loss 0", (0.35, 1.55), backgroundcolor="white")
    ax.annotate("$D_{R,P} = D_{R,N}$", (0.9, 0.72), rotation=40, fontsize=9)
    ax.set(xlabel="$D_{R,P}$", ylabel="$D_{R,N}$", ylim=(0, 2), aspect="equal")
    figure.colorbar(shades, label="triplet loss (squared distance)")
    return figure


def distance_histograms(stages: dict[str, dict[str, Tensor]]) -> Figure:
    """The three kinds of distance from R, one panel a stage.

    Args:
        stages: title → role (``P_PLUS``, ``P_MINUS``, ``N``) → (B,) distances.
    """
    figure = blank(WIDTH, 1.5 * len(stages) + 0.6)
    panels = figure.subplots(len(stages), 1, sharex=True, squeeze=False)[:, 0]
    highest = max(float(d.max()) for kinds in stages.values() for d in kinds.values())
    bins = torch.linspace(0, highest, 46).numpy()
    for ax, (title, kinds) in zip(panels, stages.items(), strict=True):
        for role, d in kinds.items():
            look = dict(facecolor=COLOUR[role], alpha=0.6)
            if role == P_MINUS:  # its colour is that of P⁺: same coarse class
                look = dict(facecolor="none", edgecolor=COLOUR[role], hatch="////")
            ax.hist(d.numpy(), bins, histtype="stepfilled", label=role, **look)
        ax.set(yticks=[], ylabel="count")
        ax.set_title(title, loc="right", y=0.75)
    panels[-1].set_xlabel("distance from R")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


def score_gradients(gradients: dict[str, Tensor], own: dict[str, int]) -> Figure:
    """The gradient of equation (4) at each score of one sample, one panel a head.

    Args:
        gradients: title → (classes,) gradient.
        own: title → the sample's class in that head.
    """
    figure = blank(WIDTH, 3.2)
    sizes = [len(gradient) for gradient in gradients.values()]
    panels = figure.subplots(
        1, len(gradients), sharey=True, squeeze=False, width_ratios=sizes
    )
    for ax, (title, gradient) in zip(panels[0], gradients.items(), strict=True):
        mine = torch.arange(len(gradient)) == own[title]
        for which, colour, hatch, text in (
            (mine, COLOUR[R], "", "the sample's class"),
            (~mine, COLOUR[N], "//", "another class"),
        ):
            place = which.nonzero().squeeze(1).tolist()
            heights = gradient[which].tolist()
            ax.bar(place, heights, color="white", edgecolor=colour, hatch=hatch)
            ax.containers[-1].set_label(text)
            if not hatch:
                for bar in ax.containers[-1]:
                    bar.set_facecolor(colour)
        ax.axhline(0, color="black", lw=0.8)
        ax.set_title(title, fontsize=9.5)
        ax.set(xlabel="class", xticks=range(len(gradient)))
    panels[0, 0].set_ylabel("∂ loss / ∂ score")
    handles = panels[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2)
    return figure


def joint_curves(d_pp: float = 0.5, d_pn: float = 1.1, d_n: float = 1.6) -> Figure:
    """The hinges of equation (5) against each distance, the two others held still.

    Both readings of the first margin are drawn; shaded where the printed one is zero.
    """
    held = {P_PLUS: d_pp, P_MINUS: d_pn, N: d_n}
    moving = torch.linspace(0, 2, 201)
    figure = blank(WIDTH, 6.4)
    panels = figure.subplots(3, 1)
    for ax, role in zip(panels, held, strict=True):
        three = [
            moving if kind == role else torch.full_like(moving, value)
            for kind, value in held.items()
        ]
        for reading, ls, text in (
            ("difference", "-", "$m_1 - m_2$ (printed)"),
            ("derived", "--", "$m_1$ (derived)"),
        ):
            loss = losses.joint_loss(
                torch.zeros(len(moving), 1),
                *(d[:, None] for d in three),
                first_margin=reading,
                reduction="none",
            )
            ax.plot(moving, loss, ls, color="black" if ls == "-" else COLOUR[N])
            ax.lines[-1].set_label(text)
            if ls == "-":
                zero = loss == 0
                ax.fill_between(moving, 0, 1.3, where=zero, fc="0.9", ec="0.6")
                ax.collections[-1].set_label("zero, as printed")
        still = ", ".join(
            f"$D_{{R,{kind.strip('$')}}}$ = {value:g}"
            for kind, value in held.items()
            if kind != role
        )
        ax.set_title(still, fontsize=10)
        ax.set(xlabel=f"$D_{{R,{role.strip('$')}}}$", ylim=(-0.05, 1.3), xlim=(0, 2))
    figure.supylabel("the two hinges of (5)", fontsize="medium")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2)
    return figure


def descent_arrows(
    four: Tensor, panels: dict[str, Callable[..., Tensor]], length: float = 0.75
) -> Figure:
    """Where a descent step moves each of four points in the plane, one panel a loss.

    Args:
        four: (4, 2) the points R, P⁺, P⁻ and N.
        panels: title → loss of four (1, 2) embeddings; three of them.
        length: an arrow is the negative gradient times this.
    """
    figure = blank(WIDTH, 5)
    axes = figure.subplots(2, 2, sharex=True, sharey=True).flatten()
    ends = [four]
    for ax, (title, loss) in zip(axes, panels.items(), strict=False):
        points = four.clone().requires_grad_()
        value = loss(*points[:, None])
        (gradient,) = torch.autograd.grad(value, points)
        ends.append(four - length * gradient)
        for role, at, to in zip(COLOUR, four.tolist(), ends[-1].tolist(), strict=True):
            look = dict(color=COLOUR[role], ms=7, mec="black", ls="", label=role)
            ax.plot(*at, MARKER[role], mfc="white" if role == R else None, **look)
            if math.dist(at, to) > 1e-6:
                arrow = dict(arrowstyle="-|>", lw=1.6, color="black", shrinkA=0)
                ax.annotate("", to, at, arrowprops=arrow | dict(shrinkB=0))
        ax.set(title=f"{title}: {value.item():.2f}", aspect="equal")
        ax.spines[:].set(visible=True)
    low, high = torch.cat(ends).amin(0), torch.cat(ends).amax(0)  # (2,) each
    reach = (high - low).max().item() / 2 + 0.15
    x, y = ((low + high) / 2).tolist()
    axes[0].set(xlim=(x - reach, x + reach), ylim=(y - reach, y + reach))
    axes[-1].axis("off")  # three panels, and their key
    axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center")
    return figure


def paired_differences(
    runs: pd.DataFrame, comparisons: Sequence[tuple[str, str]]
) -> Figure:
    """How far one row is ahead of another in R@1: one dot a seed, a bar at the mean.

    Args:
        runs: as ``qsel.experiments.table1.gather`` gives them, in percent.
        comparisons: pairs of methods; the second is taken from the first.
    """
    rows = len(comparisons)
    figure = blank(WIDTH, 0.9 + 0.5 * rows)
    ax = figure.subplots()
    for row, (a, b) in enumerate(comparisons):
        gap = paired(runs, a, b)
        ax.plot(gap, [row] * len(gap), "o", color=COLOUR[R], alpha=0.6, mec="white")
        ax.plot([gap.mean()] * 2, [row - 0.3, row + 0.3], color="black", lw=2)
    ax.axvline(0, color="0.4", lw=1, ls="--")
    names = [f"{SHORT[a]}\nminus {SHORT[b]}" for a, b in comparisons]
    ax.set_yticks(range(rows), names, fontsize=9)
    ax.set(xlabel="difference in R@1 (percentage points)")
    ax.set_ylim(rows - 0.5, -0.5)
    return figure
