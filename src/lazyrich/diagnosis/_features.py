"""The last hidden features: do they differ from the start, do they hold the labels?"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lazyrich.kernels import debiased_alignment, low_rank_measure

from ._evidence import Evidence, Labels
from ._fit import fit_of


class Features(NamedTuple):
    """What the last layer reads.

    Attributes:
        alignment: debiased CKA with the features at the start; 1 if they are the same.
        low_rank: D_LR now: 0 if features hold the outputs and nothing else.
        low_rank0: D_LR at the start.
        refit_error: error of the last layer fitted anew on the probe rows: on the test
            rows if there are any, otherwise with each row left out.
    """

    alignment: float
    low_rank: float
    low_rank0: float
    refit_error: float


def features_of(evidence: Evidence) -> Features | None:
    """Measure the last features; None if they are not there."""
    now, start = evidence.now, evidence.start
    if now.features is None:
        return None
    alignment = low_rank0 = np.nan
    if start is not None and start.features is not None:
        first = _unit(start.features)
        alignment = float(debiased_alignment(first @ first.T, _unit(now.features)))
        low_rank0 = _low_rank(start.features, start.outputs)
    error = np.nan
    if evidence.labels is not None:
        error = refit_error(now.features, evidence.labels, now.test_features, evidence.test_labels)
    return Features(alignment, _low_rank(now.features, now.outputs), low_rank0, error)


def _unit(features: np.ndarray) -> Array:
    centered = features - features.mean(0)
    size = float(np.abs(centered).max())
    return jnp.asarray(centered / size if size else centered, jnp.float32)


def _low_rank(features: np.ndarray, outputs: np.ndarray) -> float:
    return float(
        low_rank_measure(jnp.asarray(features, jnp.float32), jnp.asarray(outputs, jnp.float32))
    )


def refit_error(
    features: np.ndarray,
    labels: Labels,
    test_features: np.ndarray | None = None,
    test_labels: Labels | None = None,
) -> float:
    """Error of a last layer that ridge regression fits on the given features.

    The ridge is the one that is best with each row left out.

    Args:
        features: (n, p) Φ of the probe rows.
        labels: theirs.
        test_features: (m, p) of other rows.
        test_labels: theirs.

    Returns:
        The error as in `Fit`, on the other rows, or with each row left out.
    """
    y, mean = labels.values, features.mean(0)
    phi = features - mean
    basis, sizes, directions = np.linalg.svd(phi, full_matrices=False)
    if not sizes.size or not sizes[0]:
        return fit_of(np.broadcast_to(y.mean(0), y.shape), labels).error
    best, left_out = np.inf, y
    ridge = sizes[0] ** 2
    for candidate in sizes[0] ** 2 * np.logspace(-10, 1, 23):
        kept = sizes**2 / (sizes**2 + candidate)
        fitted = basis @ (kept[:, None] * (basis.T @ (y - y.mean(0))))
        leverage = 1 / len(y) + (basis**2 * kept).sum(1)
        residual = (y - y.mean(0) - fitted) / np.maximum(1 - leverage, 1e-8)[:, None]
        score = float((residual**2).mean())
        if score < best:
            best, ridge, left_out = score, candidate, y - residual
    if test_features is None or test_labels is None:
        return fit_of(left_out, labels).error
    weights = (sizes / (sizes**2 + ridge))[:, None] * (basis.T @ (y - y.mean(0)))
    predicted = (test_features - mean) @ (directions.T @ weights) + y.mean(0)
    return fit_of(predicted, test_labels).error
