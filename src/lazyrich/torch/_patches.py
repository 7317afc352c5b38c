"""Patches of images: what a convolution multiplies with its weights, position by position."""

import torch
import torch.nn.functional as F
from torch import Tensor


def patches(
    x: Tensor,
    *,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """Patches in one, two or three dimensions.

    Args:
        x: images (N, channels, …).
        size: of the kernel, one number a dimension; the others alike.
        stride: of the positions.
        padding: zeros on both sides.
        dilation: distance of a kernel's entries.

    Returns:
        (N, positions, channels · entries), in the order of a convolution's weights.

    Example:
        >>> ones = {"stride": (1,), "padding": (0,), "dilation": (1,)}
        >>> patches(torch.arange(4.0).reshape(1, 1, 4), size=(2,), **ones).tolist()
        [[[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]]
    """
    if len(size) == 2:
        if max(size) == 1 and not any(padding):
            return x[:, :, :: stride[0], :: stride[1]].flatten(2).transpose(1, 2)
        how = {"stride": stride, "padding": padding, "dilation": dilation}
        return F.unfold(x, size, **how).transpose(1, 2)
    padded = F.pad(x, [p for amount in reversed(padding) for p in (amount, amount)])
    windows = _windows(padded, size, stride, dilation)
    n_dims = len(size)
    positions = windows.shape[2 : 2 + n_dims]
    moved = windows.permute(0, *range(2, 2 + n_dims), 1, *range(2 + n_dims, 2 + 2 * n_dims))
    return moved.reshape(len(x), positions.numel(), -1)


def transposed_patches(
    g: Tensor,
    *,
    positions: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """Patches of a transposed convolution's cotangent, one for each of its input positions.

    Args:
        g: cotangents (N, channels, …) of the output.
        positions: the shape of the input's positions.
        size: of the kernel, one number a dimension; the others alike.
        stride: of the transposed convolution.
        padding: what it cuts off on both sides.
        dilation: distance of a kernel's entries.

    Returns:
        (N, positions, channels · entries).
    """
    amounts = []
    for axis in reversed(range(len(size))):
        # Far enough to the right that every input position has its whole patch.
        reach = (positions[axis] - 1) * stride[axis] + dilation[axis] * (size[axis] - 1) + 1
        right = max(0, reach - padding[axis] - g.shape[2 + axis])
        amounts += [padding[axis], right]
    windows = _windows(F.pad(g, amounts), size, stride, dilation)
    n_dims = len(size)
    for axis, length in enumerate(positions):
        windows = windows.narrow(2 + axis, 0, length)
    moved = windows.permute(0, *range(2, 2 + n_dims), 1, *range(2 + n_dims, 2 + 2 * n_dims))
    return moved.reshape(len(g), torch.Size(positions).numel(), -1)


def _windows(
    padded: Tensor, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Tensor:
    """A view (N, channels, positions …, entries …)."""
    windows = padded
    for axis, (length, step, gap) in enumerate(zip(size, stride, dilation, strict=True)):
        windows = windows.unfold(2 + axis, gap * (length - 1) + 1, step)[..., ::gap]
    return windows
