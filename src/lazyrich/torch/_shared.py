"""Cotangents that all outputs share, up to a factor for each channel.

Where channels are averaged over positions on their way to the outputs, as in most
convolutional networks, the cotangents of the layers just below are one pattern over the
positions of a row, times a gain for each output and channel. The gradient of the pattern
is then formed once and not once for each output.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Relative to each entry, in units of the type's rounding.
_TOLERANCE = 32


@dataclass(frozen=True)
class Shared:
    """Cotangents (n, c, s, r) as gains times a pattern.

    Attributes:
        gains: (n, c, r).
        pattern: (n, s, r).
    """

    gains: Tensor
    pattern: Tensor


def shared(cotangent: Tensor) -> Shared | None:
    """Gains and pattern of cotangents; None if outputs differ by more than gains.

    Every entry is compared: what is found equals the cotangents to rounding.

    Args:
        cotangent: (n, c, s, r).

    Example:
        >>> gains, pattern = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 4.0, 5.0])
        >>> found = shared(torch.outer(gains, pattern)[None, :, :, None])
        >>> (found.gains[0, :, :1] * found.pattern[0, :, 0]).tolist()
        [[3.0, 4.0, 5.0], [-6.0, -8.0, -10.0]]
        >>> shared(torch.eye(2)[None, :, :, None]) is None
        True
    """
    _, c, s, _ = cotangent.shape
    if c < 2 or s < 2 or _split(cotangent[:1, :2]) is None:
        return None
    return _split(cotangent)


def _split(g: Tensor) -> Shared | None:
    n, _, s, r = g.shape
    largest = g.abs().amax(2).argmax(1)[:, None, None]
    pattern = g.gather(1, largest.expand(n, 1, s, r))[:, 0]
    tiny = torch.finfo(g.dtype).tiny
    weights = pattern / pattern.square().sum(1, keepdim=True).clamp_min(tiny)
    gains = (g * weights[:, None]).sum(2)
    gap = torch.addcmul(g, gains[:, :, None], pattern[:, None], value=-1).abs_()
    bound = _TOLERANCE * torch.finfo(g.dtype).eps
    beyond = gap.addcmul_(gains[:, :, None].abs(), pattern[:, None].abs(), value=-bound)
    return Shared(gains, pattern) if bool(beyond.amax() <= 0) else None
