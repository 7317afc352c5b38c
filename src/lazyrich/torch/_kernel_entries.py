"""What the entries of a kernel may be: numbers, and so many as fit."""

import torch
from torch import Tensor

from lazyrich._base import InputError

from ._magnitude import is_finite


def refuse_infinite(kernel: Tensor) -> None:
    """Refuse a kernel with entries that are no numbers.

    Args:
        kernel: (n, m), or (n, m, c, c).

    Raises:
        InputError: naming the rows.
    """
    if is_finite(kernel):
        return
    are_finite = torch.isfinite(kernel)
    are_finite = are_finite.flatten(2).all(2) if kernel.ndim > 2 else are_finite
    n_bad, first = int((~are_finite).sum()), (~are_finite).nonzero()[0].tolist()
    raise InputError(
        f"The kernel holds NaN or infinite entries for {n_bad} pairs of rows, the first of them "
        f"{tuple(first)}; a gradient is infinite there (such as that of a root at zero) or too "
        f"large for {str(kernel.dtype).removeprefix('torch.')}: look for it in the model, or try "
        "model.double()."
    )


def refuse_large(n: int, m: int, c: int, dtype: torch.dtype, memory: float) -> None:
    """Refuse a kernel that takes more memory than may be used.

    Args:
        n: number of rows.
        m: number of other rows.
        c: number of outputs; one where equal outputs are summed.
        dtype: of the kernel.
        memory: bytes that may be used.

    Raises:
        InputError: saying both.
    """
    size = float(n) * m * c * c * (8 if dtype == torch.float64 else 4)
    if size > memory:
        raise InputError(
            f"The kernel of {n} × {m} rows and {c} outputs takes {size / 2**30:.3g} GiB, more than "
            f"the {memory / 2**30:.3g} GiB that may be used; take fewer rows, trace_outputs=True, "
            "fewer outputs with output=, or lazyrich.torch.sketch."
        )
