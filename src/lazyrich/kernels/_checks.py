"""Checks of input that the functions of this package share."""

import numpy as np
from jaxtyping import Array

from lazyrich._base import InputError, require_finite


def require_kernel(kernel: Array, targets: Array | None = None) -> None:
    """Refuse a kernel that is not a finite square matrix, or targets of other length."""
    shape = np.shape(kernel)
    if len(shape) == 4:
        raise InputError(
            f"The kernel has shape {shape}, one block for each pair of outputs; trace it, or "
            "unfold it with flatten_kernel and the targets with targets.reshape(-1)."
        )
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise InputError(f"The kernel has shape {shape}; it must be square, (n, n).")
    require_finite(kernel=kernel)
    if targets is None:
        return
    labels = np.shape(targets)
    if len(labels) not in (1, 2) or labels[0] != shape[0]:
        raise InputError(
            f"The targets have shape {labels}; a kernel of shape {shape} needs ({shape[0]},), "
            f"or ({shape[0]}, c) for c outputs."
        )
    if 0 in labels:
        raise InputError(f"The targets have shape {labels}; give one output or more.")
    require_finite(targets=targets)


def require_query_kernel(query_kernel: Array, kernel: Array) -> None:
    """Refuse a query kernel that is not finite of shape (m, n)."""
    shape, n = np.shape(query_kernel), np.shape(kernel)[0]
    if len(shape) != 2 or shape[1] != n:
        hint = " (pass its transpose)" if len(shape) == 2 and shape[0] == n else ""
        raise InputError(
            f"The query kernel has shape {shape}; it must be (m, {n}), one row for each query "
            f"point and one column for each training point{hint}."
        )
    require_finite(query_kernel=query_kernel)


def require_block_size(block_size: int | None) -> None:
    """Refuse a block size that is not a number of rows.

    Raises:
        InputError: unless it is None or a whole number from 1.
    """
    is_whole = isinstance(block_size, int | np.integer) and not isinstance(block_size, bool)
    if block_size is not None and not (is_whole and block_size >= 1):
        raise InputError(f"block_size is {block_size!r}; it must be one row or more, or None.")
