"""Patches of images: what a convolution multiplies with its weights, position by position."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Images of fewer columns are cut by the library's own operation; of others it takes three times
# as long as a copy.
_FEW_COLUMNS = 4


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
    if max(size) == 1 and not any(padding):
        steps = tuple(slice(None, None, step) for step in stride)
        return x[(..., *steps)].flatten(2).transpose(1, 2)
    reach = dilation[-1] * (size[-1] - 1)
    n_columns = (x.shape[-1] + 2 * padding[-1] - reach - 1) // stride[-1] + 1
    if len(size) == 2 and n_columns < _FEW_COLUMNS:
        how = {"stride": stride, "padding": padding, "dilation": dilation}
        return F.unfold(x, size, **how).transpose(1, 2)
    # One row of positions after the other is copied, for each entry of the kernel.
    padded = F.pad(x.contiguous(), [p for amount in reversed(padding) for p in (amount, amount)])
    windows = _windows(padded, size, stride, dilation)
    n_dims = len(size)
    axes = (0, 1, *range(2 + n_dims, 2 + 2 * n_dims), *range(2, 2 + n_dims))
    n_positions = windows.shape[2 : 2 + n_dims].numel()
    return windows.permute(axes).reshape(len(x), -1, n_positions).transpose(1, 2)


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


def depthwise_gradients(
    x: Tensor,
    g: Tensor,
    *,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """Gradients of the weights of a convolution of each channel by itself, row by row.

    They are themselves such a convolution: of the images of all rows side by side, with cotangents
    for weights.

    Args:
        x: images (n, channels, …).
        g: cotangents (n, channels · k, …).
        size: of the kernel.
        stride: of the positions.
        padding: zeros on both sides.
        dilation: distance of a kernel's entries.

    Returns:
        (n, channels · k, entries).

    Example:
        >>> x, g = torch.arange(4.0).reshape(1, 1, 4), torch.ones(1, 1, 3)
        >>> ones = {"stride": (1,), "padding": (0,), "dilation": (1,)}
        >>> depthwise_gradients(x, g, size=(2,), **ones).tolist()
        [[[3.0, 6.0]]]
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    n, channels, n_dims = *x.shape[:2], len(size)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[n_dims - 1]
    found = convolve(
        x.to(wide).reshape(1, n * channels, *x.shape[2:]),
        g.to(wide).reshape(n * g.shape[1], 1, *g.shape[2:]),
        padding=padding,
        stride=dilation,
        dilation=stride,
        groups=n * channels,
    )
    kernel = tuple(slice(k) for k in size)  # the images may be larger than what is covered
    return found[(0, slice(None), *kernel)].reshape(n, g.shape[1], -1)


def _windows(
    padded: Tensor, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Tensor:
    """A view (N, channels, positions …, entries …)."""
    windows = padded
    for axis, (length, step, gap) in enumerate(zip(size, stride, dilation, strict=True)):
        windows = windows.unfold(2 + axis, gap * (length - 1) + 1, step)[..., ::gap]
    return windows
