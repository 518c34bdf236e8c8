"""What a network computes in: float32, or bfloat16; its weights have float32 always.

In bfloat16 a CPU with AMX multiplies matrices several times faster, but torch's
convolutions make little of it: those of 1 × 1 do not, and the gradients of depthwise
ones take most of a step of a mobile trunk. Here the first are matrix products, and the
weights' gradient of the second is one batched product.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Products of a channel and image in a depthwise gradient: beyond that torch's own is
# faster.
MOST_PRODUCTS = 10_000


@contextmanager
def precision(kind: str, device: torch.device) -> Iterator[None]:
    """Products of a network in "float32" or "bfloat16" within the block."""
    if kind == "float32":
        yield
        return
    # A cache would keep the weights of the first step: it is emptied only where the
    # outermost autocast ends, and a caller's, switched off, may stand around this one.
    with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
        if device.type == "cpu":
            with _Convolutions():
                yield
        else:
            yield


class _Convolutions(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        function = _conv2d if function is torch.conv2d else function
        return function(*args, **(kwargs or {}))


def _conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    steps, borders = (_single(value) for value in (stride, padding))
    plain = (steps, borders, _single(dilation), groups) == (1, 0, 1, 1)
    if plain and weight.shape[2:] == (1, 1):
        return F.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
    if groups == len(weight) == x.shape[1] > 1 and None not in (steps, borders):
        pixels = x.shape[2] * x.shape[3]
        if _single(dilation) == 1 and (pixels / steps) ** 2 <= MOST_PRODUCTS:
            y = _Depthwise.apply(x.bfloat16(), weight.bfloat16(), steps, borders)
            return y if bias is None else y + bias.view(-1, 1, 1).bfloat16()
        # Gradients in bfloat16 take ten times as long as in float32.
        with torch.autocast("cpu", enabled=False):
            arguments = (stride, padding, dilation, groups)
            bias = bias if bias is None else bias.float()
            return torch.conv2d(x.float(), weight.float(), bias, *arguments)
    return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _single(value: object) -> int | None:
    """The one number of both directions, if it is one."""
    values = {*value} if isinstance(value, tuple | list) else {value}
    return values.pop() if len(values) == 1 and not isinstance(value, str) else None


class _Depthwise(torch.autograd.Function):
    """Each channel convolved with its own kernel: (B, C, H, W), (C, 1, k, l)."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        s, p = ctx.stride, ctx.padding
        (b, c, h, w), (o, q), (k, l) = x.shape, grad.shape[2:], weight.shape[2:]  # noqa: E741
        # Of the input: the gradient, with zeros between if strided, convolved with the
        # kernel turned round.
        spread = grad
        if s > 1:
            shape = (b, c, (o - 1) * s + 1, (q - 1) * s + 1)
            spread = grad.new_zeros(shape).to(memory_format=torch.channels_last)
            spread[:, :, ::s, ::s] = grad
        below, right = h + p - (o - 1) * s - 1, w + p - (q - 1) * s - 1
        spread = F.pad(spread, (l - 1 - p, right, k - 1 - p, below))
        to_x = torch.conv2d(spread, weight.flip(2, 3), groups=c)
        # Of the kernel: products of all input pixels with all output gradients, over
        # the batch; each tap is the sum of those that it joins.
        left = x.permute(1, 2, 3, 0).reshape(c, h * w, b)
        products = left @ grad.permute(1, 0, 2, 3).reshape(c, b, o * q)
        products = F.pad(products.view(c, h, w, o, q).float(), (0,) * 4 + (p,) * 4)
        _, down, across, *out = products.stride()
        strides = (products.stride(0), down, across)
        strides += (s * down + out[0], s * across + out[1])
        taps = products.as_strided((c, k, l, o, q), strides).sum((3, 4))
        return to_x, taps[:, None].to(weight.dtype), None, None
