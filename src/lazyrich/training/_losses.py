"""Losses and accuracies."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lazyrich._base import InputError, concrete, real_arrays, real_like, require_shapes

Loss = Callable[[Array, Array], Array]
"""From outputs and targets of equal shape (n, ...) to one number."""


def mean_squared_error(
    outputs: Float[Array, "n ..."], targets: Float[Array, "n ..."]
) -> Float[Array, ""]:
    """The mean of (f − y)² over rows and outputs, without a factor ½ (Eq. 4).

    A sum over c outputs is c times as large: rates of other codes may need that factor.

    Args:
        outputs: f, label units.
        targets: y, of the same shape.

    Returns:
        The loss, label units², zero or above.

    Raises:
        InputError: if the shapes differ, there are no rows, or something is no real number.

    Example:
        >>> float(mean_squared_error(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0])))
        2.0
    """
    outputs, targets = matched(outputs=outputs, targets=targets)
    return jnp.square(outputs - targets).mean()


def cross_entropy(logits: Float[Array, "n c"], one_hot: Float[Array, "n c"]) -> Float[Array, ""]:
    """The mean of −log softmax(z)_y over rows, to full relative precision however small.

    For the label's logit z_y it is softplus(log Σ_{j≠y} exp(z_j − z_y)). The usual form
    logsumexp(z) − z_y subtracts two equal numbers once a row is learned: in float32
    every loss below 10⁻⁷ becomes zero, its gradient with it, and learning stops or
    jumps where it should go on. Here neither collapses, down to the smallest number
    that the precision can hold.

    Args:
        logits: z, dimensionless.
        one_hot: labels as rows with a single one.

    Returns:
        The loss in nats, zero or above.

    Raises:
        InputError: if the shapes differ, there are no rows, something is not a real number, or
            a label is not one-hot.

    Example:
        >>> loss = cross_entropy(jnp.array([[50.0, 0.0]]), jnp.array([[1.0, 0.0]]))
        >>> f"{loss:.3g}"
        '1.93e-22'
    """
    logits, one_hot = matched_classes(logits=logits, one_hot=one_hot)
    return jax.nn.softplus(_log_odds_against(logits, one_hot)).mean()


def _log_odds_against(logits: Array, one_hot: Array) -> Array:
    """log Σ_{j≠y} exp(z_j − z_y) for each row: minus infinity for a single class."""
    is_label = one_hot > 0.5
    of_label = jnp.where(is_label, logits, 0).sum(-1, keepdims=True)
    others = jnp.where(is_label, -jnp.inf, logits - of_label)
    return jax.nn.logsumexp(others, axis=-1)


def accuracy(outputs: Float[Array, "n c"], one_hot: Float[Array, "n c"]) -> Float[Array, ""]:
    """The share of rows whose largest output is the label's.

    A row with an output that is NaN counts as wrong; among equal outputs the first
    counts as the largest.

    Args:
        outputs: logits or any scores.
        one_hot: labels as rows with a single one.

    Returns:
        Between 0 and 1, in the precision of the outputs.

    Raises:
        InputError: as ``cross_entropy``.

    Example:
        >>> scores = jnp.array([[2.0, 1.0], [2.0, 1.0]])
        >>> float(accuracy(scores, jnp.eye(2)))
        0.5
    """
    [outputs] = real_arrays(outputs=outputs)
    dtype = outputs.dtype
    outputs, one_hot = matched_classes(outputs=outputs, one_hot=one_hot)
    is_right = jnp.argmax(outputs, -1) == jnp.argmax(one_hot, -1)
    is_right &= ~jnp.isnan(outputs).any(-1)
    return is_right.mean(dtype=dtype)


def threshold_accuracy(
    outputs: Float[Array, "n ..."],
    targets: Float[Array, "n ..."],
    thresholds: Float[Array, " k"],
    *,
    of: Literal["squared", "absolute"] = "squared",
) -> Float[Array, " k"]:
    """The share of rows with an error at or below each threshold.

    Which error matters: |f − y| ≤ 0.01 and (f − y)² ≤ 0.01 are ten times apart. The
    paper's text says |f − y| ≤ θ; the authors' code behind Figures 8, 17 and 18
    compares θ with the squared error.

    Args:
        outputs: f, label units.
        targets: y, of the same shape.
        thresholds: θ, all at once; label units² for "squared", label units for "absolute".
        of: "squared", the row's (f − y)² averaged over its outputs, or "absolute", the
            root of that, which is |f − y| for one output.

    Returns:
        Between 0 and 1 for each threshold; NaN errors count as above.

    Raises:
        InputError: if ``of`` is neither, if the thresholds have not one axis, or as
            ``mean_squared_error``.

    Example:
        >>> outputs, targets = jnp.array([0.0, 0.05, 0.5]), jnp.zeros(3)
        >>> threshold_accuracy(outputs, targets, jnp.array([0.01, 1.0]))[1].item()
        1.0

    References:
        Kumar et al. (2024), Figures 8, 17, 18.
    """
    if of not in ("squared", "absolute"):
        raise InputError(f'of is {of!r}; choose "squared" or "absolute".')
    outputs, targets = matched(outputs=outputs, targets=targets)
    [thresholds] = real_like(outputs, thresholds=thresholds)
    require_shapes("k", thresholds=thresholds)
    squared = jnp.square(outputs - targets)
    errors = squared.reshape(len(squared), -1).mean(-1)
    if of == "absolute":
        errors = jnp.sqrt(errors)
    return (errors[:, None] <= thresholds).mean(0, dtype=errors.dtype)


def matched(**pair: object) -> tuple[Array, ...]:
    """Outputs and targets as arrays of one floating type.

    Raises:
        InputError: if their shapes differ, where NumPy would pair each row with all others,
            if there are no rows, or if something is no real number.
    """
    outputs, targets = real_arrays(**pair)
    if outputs.shape != targets.shape or outputs.ndim == 0 or outputs.size == 0:
        (name, of), (other, others) = zip(pair, (outputs.shape, targets.shape), strict=True)
        raise InputError(
            f"The shapes {name} {of}, {other} {others} are not those of the same rows; give one "
            "row or more of each, with as many outputs."
        )
    return outputs, targets


def matched_classes(**pair: object) -> tuple[Array, ...]:
    """Scores and labels of classes, (n, c) each.

    Raises:
        InputError: as ``matched``, or if labels that are known are not one-hot.
    """
    scores, labels = matched(**pair)
    known = concrete(labels)
    is_one_hot = known is None or (np.isin(known, (0, 1)).all() and (np.sum(known, -1) == 1).all())
    if scores.ndim != 2 or not is_one_hot:
        raise InputError(
            f"The labels have the shape {labels.shape}; give one-hot rows, such as "
            "jax.nn.one_hot(classes, n_classes)."
        )
    return scores, labels
