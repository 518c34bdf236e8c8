"""Pictures of the loss chapters: what they show is what the losses compute."""

import numpy as np
import pandas as pd
import pytest
import torch

from qsel import losses
from qsel.book.figures import objectives
from qsel.book.figures.objectives import P_MINUS, P_PLUS, N
from qsel.data.images import ImageSet
from qsel.experiments.comparison import COMPARISONS
from qsel.hierarchy import Hierarchy

HELD = {P_PLUS: 0.5, P_MINUS: 1.1, N: 1.6}


def test_contrastive_curve_follows_equation_1():
    (ax,) = objectives.contrastive_curve(margin=0.8).axes
    same, different = ax.lines[:2]
    d = np.asarray(same.get_xdata())
    assert np.allclose(same.get_ydata(), d**2, atol=1e-5)
    assert np.allclose(different.get_ydata(), np.maximum(0, 0.8 - d) ** 2, atol=1e-5)


def test_triplet_map_bounds_the_region_where_the_loss_is_zero():
    ax = objectives.triplet_map(margin=0.5).axes[0]
    d_p, d_n = ax.lines[0].get_data()
    on = [torch.as_tensor(x)[:, None] for x in (0 * d_p, d_p, d_n)]
    loss = losses.triplet_loss(*on, margin=0.5, reduction="none")
    assert loss.abs().max() < 1e-5
    beyond = losses.triplet_loss(on[0], on[1], on[2] - 0.01, 0.5, reduction="none")
    assert (beyond > 0).all()


def by_hand(d, m):
    return max(0, 1 - d[P_MINUS] / (d[P_PLUS] + m)) + max(
        0, 1 - d[N] / (d[P_MINUS] + 0.3)
    )


@pytest.mark.parametrize("panel, role", list(enumerate(HELD)))
def test_joint_curves_follow_equation_5_in_both_readings(panel, role):
    ax = objectives.joint_curves(*HELD.values()).axes[panel]
    for line, margin in zip(ax.lines, (0.7 - 0.3, 0.7), strict=True):
        expected = [by_hand(HELD | {role: x}, margin) for x in line.get_xdata()]
        assert np.allclose(line.get_ydata(), expected, atol=1e-5)


def test_histograms_hold_every_distance():
    kinds = dict(zip((P_PLUS, P_MINUS, N), torch.rand(3, 50), strict=True))
    axes = objectives.distance_histograms({"start": kinds, "end": kinds}).axes
    bins = np.linspace(0, max(float(d.max()) for d in kinds.values()), 46)
    for ax in axes:
        for patch, d in zip(ax.patches, kinds.values(), strict=True):
            counts = np.histogram(d, bins)[0]
            assert set(patch.get_xy()[:, 1]) == {0, *counts}


def test_score_gradients_mark_the_own_class():
    gradient = torch.tensor([0.2, -0.3, 0.1])
    (ax,) = objectives.score_gradients({"fine": gradient}, {"fine": 1}).axes
    own, others = ax.containers
    assert [bar.get_height() for bar in own] == pytest.approx([-0.3])
    assert [bar.get_height() for bar in others] == pytest.approx([0.2, 0.1])


def test_arrows_are_the_negative_gradient_and_absent_where_it_is_zero():
    four = torch.tensor([[0.0, 0.0], [1.0, 0.2], [0.45, -0.7], [-0.5, 0.45]])
    panels = {"global": losses.global_loss, "nothing": lambda *x: 0 * x[0].sum()}
    moving, still, *_ = objectives.descent_arrows(four, panels, length=1.0).axes
    points = four.clone().requires_grad_()
    losses.global_loss(*points[:, None]).backward()
    arrows = [text for text in moving.texts if text.arrow_patch]
    moved = points.grad.norm(dim=1) > 1e-6
    assert moved.tolist() == [True, True, False, True]  # P⁻: the two hinges cancel
    ends = (four - points.grad)[moved]
    for arrow, at, to in zip(arrows, four[moved], ends, strict=True):
        assert arrow.xyann == pytest.approx(at.tolist())
        assert arrow.xy == pytest.approx(to.tolist(), abs=1e-5)
    assert not [text for text in still.texts if text.arrow_patch]


def test_neighbours_say_what_they_share_with_the_query():
    labels = Hierarchy.from_names(["a3", "a3", "a4", "x5"], ["car"] * 3 + ["van"])
    images = ImageSet.from_array("few", np.zeros((4, 8, 8, 3), np.uint8), labels)
    axes = objectives.neighbours(images, [0], torch.tensor([[1, 2, 3]])).axes
    said = [ax.get_xlabel() for ax in axes]
    assert said == ["query", "✓ model", "same type", "other type"]


def test_paired_differences_have_one_dot_a_seed():
    methods = ("random", "hardest_negative", "method1", "method2")
    runs = pd.DataFrame(
        [
            {"method": method, "seed": seed, "R@1": 10.0 * k + seed * k}
            for k, method in enumerate(methods)
            for seed in range(3)
        ]
    )
    (ax,) = objectives.paired_differences(runs, COMPARISONS).axes
    dots = ax.lines[0]  # Method 2 minus Method 1
    assert list(dots.get_xdata()) == [10.0, 11.0, 12.0]
