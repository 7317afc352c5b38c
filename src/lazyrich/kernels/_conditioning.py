"""How accurate the inverse of a kernel is, and the scalars that it depends on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, ScalarLike

from lazyrich._base import InputError, concrete, full_precision, real_scalars, require_nonnegative
from lazyrich.numerics import inverse_eigenvalues, rounding_cutoff

from ._arrays import kernel_arrays, scaled_back, unit_scaled, within_range


class ConditionReport(NamedTuple):
    """How accurate the inverse of a kernel is.

    Attributes:
        largest: λ_max, in the kernel's units.
        smallest: λ_min; clearly negative only if the matrix is no kernel.
        cutoff: eigenvalues at or below this are treated as zero, in the kernel's units.
        rank: how many eigenvalues are above the cutoff.
        condition_number: (λ_max + ridge) / (λ_min,kept + ridge) over the kept modes;
            the whole matrix's if ridge is above the cutoff. At least 1.
        is_singular: whether modes are dropped, so that ridgeless regression does not
            pass through every target.
        is_psd: whether no eigenvalue is below −cutoff.

    Example:
        >>> bool(condition_report(jnp.diag(jnp.array([2.0, -1.0]))).is_psd)
        False
    """

    largest: Float[Array, "*b"]
    smallest: Float[Array, "*b"]
    cutoff: Float[Array, "*b"]
    rank: Int[Array, "*b"]
    condition_number: Float[Array, "*b"]
    is_singular: Bool[Array, "*b"]
    is_psd: Bool[Array, "*b"]


def scalars_of(
    kernel: object, matrix: Array, ridge: ScalarLike, cutoff: ScalarLike | None
) -> tuple[Array, Array]:
    """Ridge and cutoff in the matrix's type; the default cutoff is of the kernel as given.

    Raises:
        InputError: if one of them is negative, not finite or not a single number, or if the
            cutoff, or the rounding of the kernel's type, leaves no mode.
    """
    require_nonnegative(ridge=ridge, cutoff=cutoff)
    if cutoff is None:
        cutoff = rounding_cutoff(kernel, matrix)
    known = concrete(cutoff)
    if known is not None and (known >= 1).any():
        raise InputError(
            f"cutoff is {cutoff}; it is a share of the largest eigenvalue, of which one or more "
            "leaves no mode: give less than one."
        )
    ridge, cutoff = real_scalars(matrix, ridge=ridge, cutoff=cutoff)
    return ridge, cutoff


def condition_report(
    kernel: Float[Array, "n n"], *, ridge: ScalarLike = 0.0, cutoff: ScalarLike | None = None
) -> ConditionReport:
    """Rank, extreme eigenvalues and condition number of a kernel before it is inverted.

    Args:
        kernel: K, symmetric.
        ridge: what is added to the diagonal, in the kernel's units.
        cutoff: relative to the largest eigenvalue; None means ten times the machine epsilon of
            the kernel's dtype, below which rounding alone makes eigenvalues.

    Returns:
        A ConditionReport; a zero kernel has rank 0 and condition number NaN unless
        there is a ridge.

    Raises:
        InputError: if the kernel is not square, not finite or not symmetric, or ridge or
            cutoff is negative, or if an eigenvalue is beyond the range of its type.

    Example:
        >>> report = condition_report(jnp.diag(jnp.array([4.0, 1.0, 0.0])))
        >>> int(report.rank), float(report.condition_number), bool(report.is_singular)
        (2, 4.0, True)
    """
    [matrix] = kernel_arrays(kernel, is_definite=False)
    matrix, unit = unit_scaled(matrix)
    ridge, relative = scalars_of(kernel, matrix, ridge, cutoff)
    report = _report(matrix, ridge / unit, relative)
    sizes = {
        name: within_range(scaled_back(getattr(report, name), unit))
        for name in ("largest", "smallest", "cutoff")
    }
    return report._replace(**sizes)


@jax.jit
@full_precision
def _report(kernel: Array, ridge: Array, relative: Array) -> ConditionReport:
    """The report on a kernel with entries of order one, in its units."""
    eigenvalues = jnp.linalg.eigvalsh((kernel + kernel.T) / 2)
    largest, smallest = eigenvalues[-1], eigenvalues[0]
    absolute = relative * jnp.maximum(largest, 0)
    kept = eigenvalues > absolute
    weights = inverse_eigenvalues(jnp.where(kept, eigenvalues, 0), kept, ridge, relative)
    return ConditionReport(
        largest=largest,
        smallest=smallest,
        cutoff=absolute,
        rank=kept.sum(),
        condition_number=jnp.where(
            (weights > 0).any(), (jnp.maximum(largest, 0) + ridge) * weights.max(), jnp.nan
        ),
        is_singular=(weights == 0).any(),
        is_psd=smallest >= -absolute,
    )
