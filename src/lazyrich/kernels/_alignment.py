"""How well a kernel's leading directions match the labels (§5), and the chance level."""

from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lazyrich._base import InputError, full_precision, real_like, require_key, shown

from ._arrays import CHECKED_ROWS, kernel_arrays, unit_scaled

MOST_PERMUTATIONS = 1_000_000
"""More than are ever needed, and fewer than would fill the memory."""


class PermutationNull(NamedTuple):
    """An alignment beside what shuffled labels score.

    Attributes:
        value: the measure on the labels as they are.
        mean: its mean over random permutations of the rows of the targets.
        quantiles: 2.5 %, 50 % and 97.5 % points over the permutations.
        p_value: (1 + number of permutations that score as high) / (1 + number of
            permutations); never zero, uniform if labels and kernel are unrelated.

    Example:
        >>> y = jnp.array([1.0, 0.0, 2.0])
        >>> found = permutation_null(jnp.eye(3), y, jax.random.key(0), n_permutations=9)
        >>> bool(found.p_value == 1)  # the identity scores the same in every order
        True
    """

    value: Float[Array, ""]
    mean: Float[Array, ""]
    quantiles: Float[Array, " 3"]
    p_value: Float[Array, ""]


def alignment(kernel: Float[Array, "n n"], targets: Float[Array, "n *c"]) -> Float[Array, ""]:
    """The paper's kernel–target alignment, yᵀKy / (‖K‖_F ‖y‖²), §5; nothing is centred.

    Not zero for unrelated labels: a random label scores about ``chance_alignment``, which
    is most of what Figure 1(c) shows at the start. Read it beside that level or beside
    ``debiased_alignment``.

    Args:
        kernel: K on the rows of the targets, symmetric positive semi-definite.
        targets: y; several outputs give ⟨K, YYᵀ⟩ / (‖K‖_F ‖YYᵀ‖_F).

    Returns:
        The alignment, dimensionless, in [0, 1]; 1 if K ∝ YYᵀ. NaN if kernel or targets are
        zero.

    Raises:
        InputError: if shapes disagree, something is not finite, or the kernel is not
            symmetric or not positive semidefinite beyond rounding.

    Example:
        >>> y = jnp.array([1.0, -1.0])
        >>> float(alignment(jnp.outer(y, y), y))
        1.0

    References:
        Kumar et al. (2024), §5 (printed with ‖y‖² and, in places, ‖y‖; ‖y‖² is meant).
    """
    kernel, targets = _prepare(kernel, targets)
    return _cosine(kernel, targets)


def column_centered_alignment(
    kernel: Float[Array, "n n"], targets: Float[Array, "n *c"]
) -> Float[Array, ""]:
    """Alignment with each column of K less its mean, labels as they are given.

    yᵀHKy / (‖HK‖_F ‖y‖²) with H = I − 11ᵀ/n, between the paper's formula and
    ``centered_alignment``. The authors' Figure 1(c) centres the labels as well: pass
    y − ȳ for their number, which then differs from ``centered_alignment`` in the norm
    of the kernel alone, there by less than one part in a thousand.

    Args:
        kernel: K on the rows of the targets, symmetric.
        targets: y; several outputs as in ``alignment``.

    Returns:
        A number in [−1, 1], dimensionless; NaN if the centred kernel or the targets are
        zero.

    Raises:
        InputError: if shapes disagree, something is not finite, or the kernel is not
            symmetric or not positive semidefinite beyond rounding.

    Example:
        >>> y = jnp.array([1.0, -1.0])
        >>> float(column_centered_alignment(jnp.outer(y, y), y))
        1.0
    """
    kernel, targets = _prepare(kernel, targets)
    return _column_centered_cosine(kernel, targets)


def centered_alignment(
    kernel: Float[Array, "n n"], targets: Float[Array, "n *c"]
) -> Float[Array, ""]:
    """Centred kernel–target alignment (CKA), ⟨HKH, HYYᵀH⟩ over the product of norms.

    Blind to a constant added to the labels and to a constant feature. Biased upwards
    like every plug-in form: see ``debiased_alignment``.

    Args:
        kernel: K on the rows of the targets, symmetric positive semi-definite.
        targets: y; one or several outputs.

    Returns:
        The alignment, dimensionless, in [0, 1]; NaN if the labels are constant, or the
        kernel is.

    Raises:
        InputError: if shapes disagree, something is not finite, or the kernel is not
            symmetric or not positive semidefinite beyond rounding.

    Example:
        >>> y = jnp.array([3.0, 1.0])  # the mean is taken out
        >>> round(float(centered_alignment(jnp.array([[1.0, -1.0], [-1.0, 1.0]]), y)), 6)
        1.0

    References:
        Cortes, Mohri and Rostamizadeh (2012), Definition 4; Kornblith et al. (2019).
    """
    kernel, targets = _prepare(kernel, targets)
    return _centered_cosine(kernel, targets)


def debiased_alignment(
    kernel: Float[Array, "n n"], targets: Float[Array, "n *c"]
) -> Float[Array, ""]:
    """Centred alignment from unbiased estimates: about zero for unrelated labels.

    HSIC₁(K, L) / √(HSIC₁(K, K) HSIC₁(L, L)) with L = YYᵀ, where HSIC₁ leaves the diagonal
    out and so estimates the population's covariance without bias. (The ratio of
    unbiased estimates keeps a bias of order 1/n of its own value.)

    Args:
        kernel: K on n ≥ 4 rows, symmetric.
        targets: y; one or several outputs.

    Returns:
        The alignment, dimensionless, in [−1, 1]; slightly negative values are usual for
        unrelated labels. NaN if labels or kernel are constant off the diagonal.

    Raises:
        InputError: if n < 4, shapes disagree, something is not finite, or the kernel is
            not symmetric or not positive semidefinite beyond rounding.

    Example:
        >>> y = jnp.array([1.0, -1.0, 2.0, -3.0, 0.0])
        >>> round(float(debiased_alignment(jnp.outer(y, y), y)), 6)
        1.0

    References:
        Song et al. (2012), Eq. 5 for HSIC₁; Székely and Rizzo (2014) for the form here.
    """
    kernel, targets = _prepare(kernel, targets)
    if len(kernel) < 4:
        raise InputError(
            f"There are {len(kernel)} rows; the debiased alignment needs four or more."
        )
    return _debiased_cosine(kernel, targets)


@jax.jit
@full_precision
def _debiased_cosine(kernel: Array, targets: Array) -> Array:
    n = len(kernel)
    kernel, targets = unit_scaled(kernel)[0], unit_scaled(targets)[0]
    # Means drop out of HSIC₁; taken out first they cost no digits.
    targets, hollow = _centered(targets), _hollow(_double_centered(kernel))
    sums = hollow.sum(0)
    offsets = sums / (n - 2) - sums.sum() / (2 * (n - 1) * (n - 2))
    # This projection is orthogonal, so the labels' side needs none in the numerator.
    projected = _hollow(hollow - offsets[:, None] - offsets[None, :])
    squares = jnp.square(targets).reshape(n, -1).sum(1)
    label_sums = -squares  # rows of YYᵀ sum to zero, the diagonal is left out
    label_power = (
        _gram_norm(targets) ** 2
        - jnp.sum(squares**2)
        + label_sums.sum() ** 2 / ((n - 1) * (n - 2))
        - 2 / (n - 2) * jnp.sum(label_sums**2)
    )
    return jnp.sum(targets * (projected @ targets)) / (
        jnp.linalg.norm(projected) * jnp.sqrt(label_power)
    )


def chance_alignment(kernel: Float[Array, "n n"]) -> Float[Array, ""]:
    """What ``alignment`` gives a random label on average, Tr K / (n ‖K‖_F).

    Exact for labels whose direction is uniform on the sphere, such as independent
    normal ones.

    Args:
        kernel: K, symmetric positive semi-definite.

    Returns:
        The chance level, dimensionless, in [1/n, 1/√n]: the ends are a kernel of rank
        one and the identity. NaN for a zero kernel.

    Raises:
        InputError: if the kernel is not square, not finite, not symmetric, or not
            positive semidefinite beyond rounding.

    Example:
        >>> float(chance_alignment(jnp.eye(4)))
        0.5
    """
    [kernel] = kernel_arrays(kernel, checked_rows=CHECKED_ROWS)
    return _chance(kernel)


@jax.jit
@full_precision
def _chance(kernel: Array) -> Array:
    kernel = unit_scaled(kernel)[0]
    return jnp.trace(kernel) / (len(kernel) * jnp.linalg.norm(kernel))


def permutation_null(
    kernel: Float[Array, "n n"],
    targets: Float[Array, "n *c"],
    key: PRNGKeyArray,
    *,
    n_permutations: int = 1000,
    measure: Callable[[Array, Array], Array] = alignment,
) -> PermutationNull:
    """An alignment against its own null: the labels' rows in random order.

    Shuffling keeps the kernel and the labels' distribution, so it says how much of a
    score means that *these* inputs carry *these* labels.

    Args:
        kernel: K on the rows of the targets.
        targets: y; rows are permuted as a whole.
        key: a JAX random key.
        n_permutations: how many; the least p-value is 1/(1 + n_permutations).
        measure: one of this subpackage's alignments, or any ``(kernel, targets) -> scalar``.

    Returns:
        A PermutationNull.

    Raises:
        InputError: if n_permutations is not a whole number from 1 to a million, if key is no
            random key, as ``alignment``, or as the measure raises.

    Example:
        >>> y = jnp.arange(8.0) - 3.5
        >>> null = permutation_null(jnp.outer(y, y), y, jax.random.key(0), n_permutations=99)
        >>> bool(null.p_value < 0.05)
        True
    """
    if not isinstance(n_permutations, Integral) or not 1 <= n_permutations <= MOST_PERMUTATIONS:
        raise InputError(
            f"n_permutations is {shown(n_permutations)}; it must be a whole number from 1 to "
            f"{MOST_PERMUTATIONS}."
        )
    require_key(key)
    kernel, targets = _prepare(kernel, targets)
    [value] = real_like(kernel, measure=measure(kernel, targets))
    keys = jax.random.split(key, n_permutations)
    return _against_permutations(kernel, targets, value, keys, measure)


@partial(jax.jit, static_argnames="measure")
@full_precision
def _against_permutations(
    kernel: Array, targets: Array, value: Array, keys: Array, measure: Callable
) -> PermutationNull:
    def shuffled(key: Array) -> Array:
        return jnp.asarray(measure(kernel, jax.random.permutation(key, targets)), value.dtype)

    n_permutations = len(keys)
    null = jax.lax.map(shuffled, keys, batch_size=min(n_permutations, 128))
    # Equal up to rounding counts as equal: permutations may leave the labels unchanged.
    tolerance = 8 * jnp.finfo(null.dtype).eps * jnp.abs(value)
    as_high = jnp.sum(null >= value - tolerance)
    p_value = jnp.where(jnp.isnan(value), jnp.nan, (1 + as_high) / (1 + n_permutations))
    quantiles = jnp.quantile(null, jnp.array([0.025, 0.5, 0.975], null.dtype))
    return PermutationNull(value, null.mean(), quantiles, jnp.asarray(p_value, null.dtype))


def _prepare(kernel: Array, targets: Array) -> tuple[Array, Array]:
    kernel, targets = kernel_arrays(kernel, targets, checked_rows=CHECKED_ROWS)
    return kernel, targets


@jax.jit
@full_precision
def _cosine(kernel: Array, targets: Array) -> Array:
    """⟨K, YYᵀ⟩ / (‖K‖_F ‖YYᵀ‖_F) without forming YYᵀ."""
    kernel, targets = unit_scaled(kernel)[0], unit_scaled(targets)[0]
    return jnp.sum(targets * (kernel @ targets)) / (jnp.linalg.norm(kernel) * _gram_norm(targets))


@jax.jit
@full_precision
def _column_centered_cosine(kernel: Array, targets: Array) -> Array:
    kernel = unit_scaled(kernel)[0]
    return _cosine(kernel - kernel.mean(0), targets)


@jax.jit
@full_precision
def _centered_cosine(kernel: Array, targets: Array) -> Array:
    kernel, targets = unit_scaled(kernel)[0], unit_scaled(targets)[0]
    return _cosine(_double_centered(kernel), _centered(targets))


def _gram_norm(targets: Array) -> Array:
    """‖YYᵀ‖_F, from the smaller of the two Gram matrices."""
    columns = targets.reshape(len(targets), -1)
    return jnp.linalg.norm(columns.T @ columns)


def _centered(targets: Array) -> Array:
    return _without_residue(targets - targets.mean(0), targets)


def _double_centered(kernel: Array) -> Array:
    columns_done = kernel - kernel.mean(0)
    return _without_residue(columns_done - columns_done.mean(1, keepdims=True), kernel)


def _without_residue(centered: Array, original: Array) -> Array:
    """Zero, where the rounding of a mean is all that is left of a constant."""
    rounding = 8 * jnp.finfo(original.dtype).eps * jnp.abs(original).max()
    return jnp.where(jnp.abs(centered).max() > rounding, centered, 0)


def _hollow(kernel: Array) -> Array:
    return jnp.where(jnp.eye(len(kernel), dtype=bool), 0, kernel)
