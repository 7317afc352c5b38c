"""A kernel's eigenvalues with the target's power in each mode."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lazyrich._base import full_precision
from lazyrich.numerics import decompose, rounding_cutoff

from ._arrays import (
    Scaled,
    kernel_arrays,
    scaled_back,
    unit_scaled,
    within_range,
)


class KernelSpectrum(NamedTuple):
    """The modes of a kernel on n rows, largest eigenvalue first.

    Attributes:
        eigenvalues: of the matrix K, in the kernel's units. Divided by n they estimate the
            eigenvalues over the inputs' distribution (Eq. 11).
        modes: orthonormal eigenvectors, one column each.
        power: (v·y)²/n of each mode, summed over outputs, in label units²; the sum is the
            mean square of the targets.
        cumulative_power: share of the targets' power in the first k modes, for k = 1…n;
            NaN for zero targets.

    Example:
        >>> found = kernel_spectrum(jnp.diag(jnp.array([4.0, 1.0])), jnp.array([2.0, 0.0]))
        >>> found.eigenvalues.tolist(), found.power.tolist()
        ([4.0, 1.0], [2.0, 0.0])
    """

    eigenvalues: Float[Array, " n"]
    modes: Float[Array, "n n"]
    power: Float[Array, " n"]
    cumulative_power: Float[Array, " n"]


def kernel_spectrum(kernel: Float[Array, "n n"], targets: Float[Array, "n *c"]) -> KernelSpectrum:
    """The eigenvalues of a kernel, and how the target's power lies in its modes.

    A target with its power in the first modes is easy for the lazy network. Where
    eigenvalues coincide only the power of their whole eigenspace means something.

    Args:
        kernel: K on the rows of the targets, symmetric positive semi-definite.
        targets: y, one or several outputs, in label units.

    Returns:
        A KernelSpectrum; ``eigenvalues / n`` and ``power`` are what
        ``lazyrich.theory.learning_curve`` takes.

    Raises:
        InputError: if shapes disagree, something is not finite, the kernel is not
            symmetric or not positive semidefinite beyond rounding, or the power is beyond
            the range of its type.

    Example:
        >>> spectrum = kernel_spectrum(jnp.diag(jnp.array([1.0, 4.0])), jnp.array([1.0, 3.0]))
        >>> spectrum.eigenvalues.tolist(), spectrum.power.tolist()
        ([4.0, 1.0], [4.5, 0.5])
        >>> [round(share, 3) for share in spectrum.cumulative_power.tolist()]
        [0.9, 1.0]

    References:
        Kumar et al. (2024), Eq. 11 and Figure 5; Canatar et al. (2021) for cumulative power.
    """
    matrix, targets = kernel_arrays(kernel, targets)
    eigenvalues, modes, power, shares = _spectrum(matrix, targets, rounding_cutoff(kernel, matrix))
    return KernelSpectrum(within_range(eigenvalues), modes, within_range(power), shares)


@jax.jit
@full_precision
def _spectrum(
    kernel: Array, targets: Array, cutoff: ScalarLike
) -> tuple[Scaled, Array, Scaled, Array]:
    n = len(kernel)
    kernel, unit = unit_scaled(kernel)
    targets, label_unit = unit_scaled(targets)
    eigenvalues, modes = decompose((kernel + kernel.T) / 2, cutoff)
    eigenvalues, modes = eigenvalues[::-1], modes[:, ::-1]
    power = jnp.square(modes.T @ targets).reshape(n, -1).sum(1) / n
    running = jnp.cumsum(power)
    return (
        scaled_back(eigenvalues, unit),
        modes,
        scaled_back(power, label_unit, label_unit),
        running / running[-1],
    )
