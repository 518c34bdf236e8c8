"""bfloat16 on a CPU: torch's convolutions, with gradients, at bfloat16's rounding."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qsel.experiments.precision import _Depthwise, precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("channels", "size", "kernel", "stride", "padding"),
    [
        (6, (5, 5), (5, 5), 1, 2),
        (6, (13, 12), (5, 5), 2, 0),  # the last rows and columns are not reached
        (4, (9, 8), (3, 5), 3, 1),
        (1, (3, 3), (3, 3), 1, 0),
    ],
)
def test_depthwise_gradients_are_torchs(channels, size, kernel, stride, padding):
    torch.manual_seed(0)
    options = dict(dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, channels, *size, **options)
    weight = torch.randn(channels, 1, *kernel, **options)
    ours = _Depthwise.apply(x, weight, stride, padding)
    theirs = F.conv2d(x, weight, None, stride, padding, 1, channels)
    assert torch.equal(ours, theirs)
    grad = torch.randn_like(ours)
    ours = torch.autograd.grad(ours, (x, weight), grad)
    theirs = torch.autograd.grad(theirs, (x, weight), grad)
    assert torch.allclose(ours[0], theirs[0])
    assert torch.allclose(ours[1], theirs[1], atol=1e-4)  # sums taps in float32


NETWORKS = {
    "1 x 1": nn.Conv2d(6, 8, 1),
    "1 x 1, grouped": nn.Conv2d(6, 9, 1, groups=3),
    "depthwise": nn.Conv2d(6, 6, 5, padding=2, groups=6),
    "depthwise, same": nn.Conv2d(6, 6, 3, padding="same", groups=6),
    "depthwise, dilated": nn.Conv2d(6, 6, 3, dilation=2, groups=6),
    "depthwise, on a large map": nn.Sequential(
        nn.Upsample(scale_factor=3), nn.Conv2d(6, 6, 3, groups=6)
    ),
    "3 x 3": nn.Conv2d(6, 8, 3),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_bfloat16_keeps_to_its_rounding(network):
    torch.manual_seed(0)
    x = torch.randn(4, 6, 9, 9, requires_grad=True)
    parameters = (x, *network.parameters())
    expected = network(x)
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, parameters, grad)
    with precision("bfloat16", CPU):
        found = network(x)
    given = torch.autograd.grad(found, parameters, grad.to(found.dtype))
    for ours, theirs in zip((found, *given), (expected, *wanted), strict=True):
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


def test_float32_is_torchs_own():
    x = torch.randn(2, 6, 9, 9)
    network = NETWORKS["depthwise"]
    with precision("float32", CPU):
        assert torch.equal(network(x), network(x))
        assert network(x).dtype == torch.float32


def test_changed_weights_count_at_once():
    network, x = nn.Linear(4, 4), torch.ones(1, 4)
    with torch.autocast("cpu", enabled=False):  # as `fresh_settings` has it
        with precision("bfloat16", CPU):
            before = network(x)
        with torch.no_grad():
            network.weight.add_(1)
        with precision("bfloat16", CPU):
            assert torch.allclose(network(x), before + 4, atol=0.1)
