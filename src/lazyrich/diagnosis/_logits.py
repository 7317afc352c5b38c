"""Cross-entropy after the fit: logits that grow, and losses that float32 rounds to zero."""

from typing import NamedTuple

import numpy as np

from ._evidence import Labels
from ._fit import row_losses

_SATURATED = 1 - 1e-4


class Logits(NamedTuple):
    """The state of the softmax.

    Attributes:
        scale: rms of the logits, less the mean of each row.
        saturated: share of rows whose largest probability is above 1 − 10⁻⁴.
        zero_losses: share of rows whose loss is exactly zero in float32, so that they
            have no gradient (softmax collapse).
    """

    scale: float
    saturated: float
    zero_losses: float


def logits_of(outputs: np.ndarray, labels: Labels) -> Logits:
    """Measure logits (n, c).

    Example:
        >>> labels = Labels(np.eye(2), "cross_entropy")
        >>> logits_of(100 * np.eye(2), labels)
        Logits(scale=50.0, saturated=1.0, zero_losses=1.0)

    References:
        Prieto et al. (2025), arXiv:2501.04697.
    """
    centered = outputs - outputs.mean(1, keepdims=True)
    shifted = np.exp(outputs - outputs.max(1, keepdims=True))
    largest = (shifted / shifted.sum(1, keepdims=True)).max(1)
    losses = row_losses(outputs.astype(np.float32), labels)
    return Logits(
        scale=float(np.sqrt((centered**2).mean())),
        saturated=float((largest > _SATURATED).mean()),
        zero_losses=float((losses == 0).mean()),
    )
