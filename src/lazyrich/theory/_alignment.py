"""Alignment of kernel and target over the whole input distribution (Eqs. 19, 20)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, ScalarLike

from lazyrich._base import (
    InputError,
    concrete,
    full_precision,
    real_arrays,
    real_scalars,
    require_finite,
)

from ._loss_terms import require_weight_moments
from ._target import target_matrix
from ._weight_moments import WeightMoments, floating


class AlignmentParts(NamedTuple):
    """The three averages in Eq. 19, kernel in units of α²/N (it cancels in the ratio).

    Attributes:
        overlap: ⟨y(x) K(x, x′) y(x′)⟩ over independent x and x′, label units².
        kernel_power: ⟨K(x, x′)²⟩, dimensionless.
        label_power: ⟨y(x)²⟩, label units².

    Example:
        >>> float(AlignmentParts(jnp.array(1.0), jnp.array(4.0), jnp.array(0.5)).ratio)
        1.0

    References:
        Kumar et al. (2024), Eq. 19.
    """

    overlap: Float[Array, "*b"]
    kernel_power: Float[Array, "*b"]
    label_power: Float[Array, "*b"]

    @property
    def ratio(self) -> Float[Array, "*b"]:
        """The alignment, overlap / (√kernel_power · label_power), dimensionless."""
        return self.overlap / (jnp.sqrt(self.kernel_power) * self.label_power)


@full_precision
def population_alignment(
    stats: WeightMoments, directions: Float[Array, "*k d"], *, epsilon: ScalarLike
) -> AlignmentParts:
    """Kernel–target alignment over x ~ N(0, I/D), nothing centred, Eqs. 19 and 20.

    With B = Σ_k β_k β_kᵀ, in units of α²/N:
    overlap = (ε²/4D⁴) Tr[M (Tr(B) I + 2B)²], for one direction
    (ε²/4D⁴)(‖β‖⁴ Tr M + 8‖β‖² βᵀMβ); the paper omits the ¼;
    kernel power = 1/D + 2ε²(D+2)‖w̄‖²/D³ + (ε⁴/D⁴)[(D+6)‖M‖_F² + 2(Tr M)²].

    An alignment measured on n rows is larger by about Tr K/(n‖K‖_F), for random labels
    too; this is the value without that offset.

    Args:
        stats: w̄ and M of the weights, or a history of them with any leading axes.
        directions: β⋆ of shape (d,), or one row for each direction.
        epsilon: ε, strength of the quadratic part of φ.

    Returns:
        The parts with the leading axes of ``stats``; their ``ratio`` is the alignment,
        between 0 and 1, 0 at ε = 0, NaN for a zero target or diverged weight moments.

    Raises:
        InputError: if ε or the directions are not finite, if the square of the labels leaves
            the range of their type, or if the shapes disagree.

    Example:
        >>> stats = WeightMoments(jnp.zeros(1), jnp.ones((1, 1)))
        >>> parts = population_alignment(stats, jnp.array([2.0]), epsilon=1.0)
        >>> [float(part) for part in parts], round(float(parts.ratio), 4)
        ([36.0, 10.0, 12.0], 0.9487)

    References:
        Kumar et al. (2024), Eqs. 19 and 20, corrected.
    """
    of = _moments(stats, directions, epsilon)
    overlap = of.target_trace**2 * of.moment_trace / 4 + of.target_trace * of.overlap
    return _parts(
        of,
        (overlap + of.overlap_square) / of.dim,
        _kernel_power(of, mean=2 * (of.dim + 2), square=of.dim + 6, trace=2.0),
        of.target_square / 2 + of.target_trace**2 / 4,
    )


@full_precision
def population_column_centered_alignment(
    stats: WeightMoments, directions: Float[Array, "*k d"], *, epsilon: ScalarLike
) -> AlignmentParts:
    """Alignment with the mean of each column of the kernel taken out, labels as they are.

    The kernel is K(x, x′) − ⟨K(x, x′)⟩_x. What the authors' Figure 1(c) plots centres the
    labels as well: its overlap and label power are those of
    ``population_centered_alignment``, its kernel power is the one here.
    overlap = (ε²/4D⁴) Tr[M (2 Tr(B) B + 4B²)];
    kernel power = 1/D + ε²(2D+3)‖w̄‖²/D³ + (ε⁴/D⁴)[(D+4)‖M‖_F² + (Tr M)²].

    Args:
        stats: w̄ and M of the weights, or a history of them with any leading axes.
        directions: β⋆ of shape (d,), or one row for each direction.
        epsilon: ε, strength of the quadratic part of φ.

    Returns:
        The parts as in ``population_alignment``; the label power is ⟨y²⟩.

    Raises:
        InputError: if ε or the directions are not finite, if the square of the labels leaves
            the range of their type, or if the shapes disagree.

    Example:
        >>> stats = WeightMoments(jnp.zeros(1), jnp.ones((1, 1)))
        >>> parts = population_column_centered_alignment(stats, jnp.array([2.0]), epsilon=1.0)
        >>> [float(part) for part in parts]
        [24.0, 7.0, 12.0]

    References:
        Not in the paper; Kumar et al. (2024), Eq. 19, with the kernel's columns centred.
    """
    of = _moments(stats, directions, epsilon)
    overlap = of.target_trace * of.overlap / 2 + of.overlap_square
    return _parts(
        of,
        overlap / of.dim,
        _kernel_power(of, mean=2 * of.dim + 3, square=of.dim + 4, trace=1.0),
        of.target_square / 2 + of.target_trace**2 / 4,
    )


@full_precision
def population_centered_alignment(
    stats: WeightMoments, directions: Float[Array, "*k d"], *, epsilon: ScalarLike
) -> AlignmentParts:
    """Centred alignment: kernel centred on both sides, labels centred, Eq. 19.

    overlap = (ε²/D⁴) Tr[M B²], for one direction ε²‖β‖² βᵀMβ/D⁴, which feature learning
    changes and the constant part of ‖x‖² does not;
    kernel power = 1/D + 2ε²(D+1)‖w̄‖²/D³ + (ε⁴/D⁴)[(D+2)‖M‖_F² + (Tr M)²];
    label power = Var y = ‖B‖_F²/(2D²).

    Args:
        stats: w̄ and M of the weights, or a history of them with any leading axes.
        directions: β⋆ of shape (d,), or one row for each direction.
        epsilon: ε, strength of the quadratic part of φ.

    Returns:
        The parts as in ``population_alignment``, each for the centred quantities.

    Raises:
        InputError: if ε or the directions are not finite, if the square of the labels leaves
            the range of their type, or if the shapes disagree.

    Example:
        >>> stats = WeightMoments(jnp.zeros(1), jnp.ones((1, 1)))
        >>> parts = population_centered_alignment(stats, jnp.array([2.0]), epsilon=1.0)
        >>> [float(part) for part in parts]
        [16.0, 5.0, 8.0]

    References:
        Not in the paper; Kumar et al. (2024), Eqs. 19 and 20, with everything centred.
    """
    of = _moments(stats, directions, epsilon)
    return _parts(
        of,
        of.overlap_square / of.dim,
        _kernel_power(of, mean=2 * (of.dim + 1), square=of.dim + 2, trace=1.0),
        of.target_square / 2,
    )


class _Moments(NamedTuple):
    """The invariants of (w̄, M, B) that every alignment is made of, scaled by powers of D."""

    dim: float
    mean_square: Array  # ε²‖w̄‖²/D
    moment_square: Array  # ε⁴‖M‖²/D²
    moment_trace: Array  # ε² Tr M/D
    target_trace: Array  # Tr B/D
    target_square: Array  # ‖B‖²/D²
    overlap: Array  # ε² Tr(MB)/D²
    overlap_square: Array  # ε² Tr(MB²)/D³
    unit: Array  # the power of two by which B is divided here


def _moments(stats: WeightMoments, directions: Array, epsilon: ScalarLike) -> _Moments:
    require_finite(epsilon=epsilon)
    [directions] = real_arrays(directions=directions)
    target = target_matrix(directions)
    given, made = concrete(directions), concrete(target)
    if given is not None and made is not None and given.any() and not made.any():
        raise _beyond(target)  # their products are zero, and they are not
    stats = floating(stats)
    require_weight_moments(stats, len(target))
    [epsilon] = real_scalars(stats.second_moment, epsilon=epsilon)
    # Dividing by D before multiplying keeps M ~ 10⁴ and D⁴ ~ 10⁸ in reach of float32.
    dim = float(len(target))
    target = target / dim
    # Products of large or small labels would leave float32's range on the way.
    exponent = jnp.frexp(jax.lax.stop_gradient(jnp.abs(target).max()))[1]
    unit = jnp.ldexp(jnp.ones((), target.dtype), exponent)
    target = target / unit
    moment = epsilon**2 * stats.second_moment / dim
    return _Moments(
        dim,
        jnp.square(epsilon * stats.mean_weight).sum(-1) / dim,
        jnp.square(moment).sum((-2, -1)),
        jnp.trace(moment, axis1=-2, axis2=-1),
        jnp.trace(target),
        jnp.square(target).sum(),
        (moment * target).sum((-2, -1)),
        (moment * (target @ target)).sum((-2, -1)),
        unit,
    )


def _kernel_power(of: _Moments, *, mean: float, square: float, trace: float) -> Array:
    quadratic = square * of.moment_square + trace * of.moment_trace**2
    return 1 / of.dim + (mean * of.mean_square + quadratic) / of.dim**2


def _parts(of: _Moments, overlap: Array, kernel_power: Array, label_power: Array) -> AlignmentParts:
    """The parts in the units of the labels.

    Raises:
        InputError: if the square of the labels leaves the range of their type, where the
            ratio would be zero, NaN or wrong.
    """
    overlap, power = overlap * of.unit**2, label_power * of.unit**2
    before, after = concrete(label_power), concrete(power)
    if before is not None and after is not None and before != 0:
        limits = jnp.finfo(power.dtype)
        # Below, the overlap, which is smaller, would lose its digits.
        least = float(limits.tiny / limits.eps)
        if not least <= after <= limits.max or _overflows(overlap, kernel_power, power):
            raise _beyond(power)
    # One value for every evaluation step.
    return AlignmentParts(overlap, kernel_power, jnp.broadcast_to(power, overlap.shape))


def _beyond(labels: Array) -> InputError:
    return InputError(
        f"The labels of these directions have squares beyond what {labels.dtype} can hold; use "
        'other units, or double precision (jax.config.update("jax_enable_x64", True)).'
    )


def _overflows(overlap: Array, kernel_power: Array, label_power: Array) -> bool:
    """Whether the ratio would lose a part to infinity, other than that of diverged weights."""
    parts = concrete(overlap), concrete(jnp.sqrt(kernel_power) * label_power)
    finite = concrete(jnp.isfinite(kernel_power))
    if finite is None:
        return False
    return any(part is not None and (np.isinf(part) & finite).any() for part in parts)
