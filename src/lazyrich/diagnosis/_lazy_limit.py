"""Where a lazy network would end: kernel regression with the tangent kernel at the start."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lazyrich.kernels import flatten_kernel, kernel_regression

from ._evidence import Labels, Snapshot
from ._fit import fit_of

_FEWEST_ROWS = 8


class LazyLimit(NamedTuple):
    """The test error that the lazy network reaches on the probe rows, and with more rows.

    Attributes:
        error: trained on all probe rows; as in `Fit`.
        half_error: trained on the first half of them.
        extrapolated_error: with four times the rows, by the power law through the two.
    """

    error: float
    half_error: float
    extrapolated_error: float


def lazy_limit(start: Snapshot, labels: Labels, test_labels: Labels | None) -> LazyLimit | None:
    """Kernel regression on the labels less the outputs at the start; None if it cannot be.

    For classes the one-hot rows are fitted, as a stand-in for the lazy network under
    cross-entropy, whose logits grow without an end.
    """
    if start.kernel is None or start.query_kernel is None or test_labels is None:
        return None
    n = len(labels.values)
    if n < _FEWEST_ROWS or start.test_outputs is None:
        return None
    whole = _error(start, labels, test_labels, n)
    half = _error(start, labels, test_labels, n // 2)
    exponent = max(0.0, np.log2(half / whole)) if whole > 0 and half > 0 else 0.0
    return LazyLimit(whole, half, float(whole / 4**exponent))


def _error(start: Snapshot, labels: Labels, test_labels: Labels, n: int) -> float:
    assert start.kernel is not None  # the caller looked
    assert start.query_kernel is not None
    assert start.test_outputs is not None
    # Logits at the start are no offset of one-hot rows.
    is_classes = labels.loss == "cross_entropy"
    offset = labels.values.mean(0) if is_classes else start.outputs[:n]
    test_offset = labels.values.mean(0) if is_classes else start.test_outputs
    predicted = kernel_regression(
        flatten_kernel(jnp.asarray(start.kernel[:n, :n])),
        jnp.asarray((labels.values[:n] - offset).reshape(-1)),
        flatten_kernel(jnp.asarray(start.query_kernel[:, :n])),
    )
    outputs = np.asarray(predicted, float).reshape(test_labels.values.shape) + test_offset
    return fit_of(outputs, test_labels).error
