"""How well the network does now, and how large it was at the start."""

import math
from typing import NamedTuple

import numpy as np

from ._evidence import Labels


class Fit(NamedTuple):
    """Outputs against labels.

    Attributes:
        loss: the mean squared error over rows and outputs, or the cross-entropy in nats.
        error: the squared error relative to that of the labels' mean, or the share of
            rows that are classified wrongly.
        chance: the error of a prediction that knows nothing: 1, or that of the most
            frequent class.
        chance_loss: the loss of the labels' mean, or of their frequencies.

    Example:
        >>> Fit(loss=0.1, error=0.05, chance=0.5, chance_loss=0.69).error
        0.05
    """

    loss: float
    error: float
    chance: float
    chance_loss: float


def fit_of(outputs: np.ndarray, labels: Labels) -> Fit:
    """The fit of outputs (n, c) to labels.

    Args:
        outputs: of the network.
        labels: of the same rows.

    Returns:
        The fit; the error is infinite if the labels are constant and the outputs are not them.

    Example:
        >>> labels = Labels(np.array([[1.0], [-1.0]]), "mse")
        >>> fit_of(np.zeros((2, 1)), labels).error
        1.0
    """
    y = labels.values
    if labels.loss == "mse":
        loss, chance = float(((outputs - y) ** 2).mean()), float(((y - y.mean(0)) ** 2).mean())
        return Fit(loss, loss / chance if chance else np.inf, 1.0, chance)
    frequencies = y.mean(0)
    wrong = float((outputs.argmax(1) != labels.classes).mean())
    present = frequencies[frequencies > 0]
    entropy = float(-(present * np.log(present)).sum())
    loss, chance = float(row_losses(outputs, labels).mean()), float(1 - frequencies.max())
    return Fit(loss, wrong, chance, entropy)


def row_losses(logits: np.ndarray, labels: Labels) -> np.ndarray:
    """(n,) the cross-entropy of every row, in the precision of the logits."""
    shifted = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(logits)), labels.classes]


def initial_size(outputs: np.ndarray, labels: Labels) -> float:
    """Outputs at the start against the labels: rms f₀/rms y, or cross-entropy/log c.

    Large where the network has to unlearn its initial outputs before it learns the labels.
    """
    if labels.loss == "mse":
        size = float(np.sqrt((labels.values**2).mean()))
        return float(np.sqrt((outputs**2).mean())) / size if size else np.inf
    return fit_of(outputs, labels).loss / float(np.log(outputs.shape[1]))


def loss_gradient(outputs: np.ndarray, labels: Labels) -> np.ndarray:
    """∂L/∂f, (n, c), of the mean loss: what is pulled back to the parameters' gradient.

    Args:
        outputs: (n, c) of the network.
        labels: of the same rows.

    Returns:
        The gradient, of the shape of the outputs.

    Example:
        >>> loss_gradient(np.ones((2, 1)), Labels(np.zeros((2, 1)), "mse")).tolist()
        [[1.0], [1.0]]
    """
    if labels.loss == "mse":
        return 2 * (outputs - labels.values) / outputs.size
    shifted = np.exp(outputs - outputs.max(1, keepdims=True))
    return (shifted / shifted.sum(1, keepdims=True) - labels.values) / len(outputs)


def cosine_of(one: np.ndarray, other: np.ndarray) -> float:
    """The cosine of two vectors; NaN if one is zero.

    Args:
        one: (p,) numbers.
        other: (p,) numbers.

    Returns:
        A number from −1 to 1, or NaN.

    Example:
        >>> cosine_of(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
        1.0
    """
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norms if norms else math.nan
