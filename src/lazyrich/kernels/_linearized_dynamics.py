"""The lazy network at every step at once: exact linearised gradient descent (§3)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Real, ScalarLike

from lazyrich._base import (
    InputError,
    concrete,
    full_precision,
    real_array,
    real_like,
    real_scalars,
    require_nonnegative,
    require_positive,
)
from lazyrich.numerics import eigenmodes

from ._arrays import kernel_arrays, unit_scaled
from ._conditioning import scalars_of


class LazyDynamics(NamedTuple):
    """Predictions of the linearised network during gradient descent.

    Attributes:
        train: f on the training rows at each of the asked steps, in label units.
        query: the same on the query rows; None if no query kernel was given.
        is_stable: whether the step size is below the largest that converges,
            2(1 + momentum) / (2λ_max/P).

    Example:
        >>> found = lazy_dynamics(
        ...     jnp.eye(2), jnp.array([1.0, 3.0]), jnp.array([0]), learning_rate=0.1)
        >>> found.train.tolist(), bool(found.is_stable)
        ([[0.0, 0.0]], True)
    """

    train: Float[Array, "s n *c"]
    query: Float[Array, "s m *c"] | None
    is_stable: Bool[Array, ""]


def lazy_dynamics(
    kernel: Float[Array, "n n"],
    targets: Float[Array, "n *c"],
    steps: Real[Array, " s"],
    *,
    learning_rate: ScalarLike,
    query_kernel: Float[Array, "m n"] | None = None,
    momentum: ScalarLike = 0.0,
    cutoff: ScalarLike | None = None,
) -> LazyDynamics:
    """Gradient descent of the linearised, centred network, from one eigendecomposition.

    The loss is (1/P) Σ_i |f(x_i) − y_i|², with no ½ and summed over outputs, so one step
    takes f − y on the training rows to (I − 2ηK/P)(f − y), from f = 0. Each mode of K goes
    alone, so a million steps cost what one costs. For a network that is not centred,
    pass targets − f(θ₀) and add f(θ₀) to the predictions.

    Args:
        kernel: K between training rows, symmetric positive semi-definite.
        targets: y, one row for each training row, in label units; every output has this
            same kernel.
        steps: numbers of optimiser steps, zero or above, in any order. Between whole
            steps the power (1 − 2ηλ/P)^t interpolates (its real part where the base is
            negative); with momentum only whole steps mean something.
        learning_rate: η, for the loss as written above.
        query_kernel: K between query rows and training rows.
        momentum: μ in [0, 1) of heavy-ball descent, m ← μm + g, θ ← θ − ηm.
        cutoff: modes at or below cutoff·λ_max are the null space and stay at zero; None
            means ten times the machine epsilon of the kernel's dtype.

    Returns:
        A LazyDynamics; exactly zero at step zero, and for steps → ∞ the prediction of
        ``kernel_regression`` if is_stable. Otherwise the predictions are those that
        descent would make: they grow, and are infinite or NaN past the largest number
        of the dtype. Where eigenvalues coincide the gradient with respect to the kernel
        (and to it alone) is NaN.

    Raises:
        InputError: if shapes disagree, something is not finite, the kernel is not
            symmetric or not positive semidefinite beyond rounding, the rate is not above
            zero, a step is negative (or not whole, with momentum), or momentum is
            outside [0, 1).

    Example:
        >>> run = lazy_dynamics(
        ...     jnp.eye(2), jnp.array([1.0, 2.0]), jnp.array([0, 1, 2]), learning_rate=0.5
        ... )
        >>> run.train.tolist()
        [[0.0, 0.0], [0.5, 1.0], [0.75, 1.5]]

    References:
        Kumar et al. (2024), §3 and Figure 1 (linearised curves); §14 for momentum.
    """
    given = (targets,) if query_kernel is None else (targets, query_kernel)
    matrix, targets, *rest = kernel_arrays(kernel, *given)
    require_positive(learning_rate=learning_rate)
    require_nonnegative(learning_rate=learning_rate, momentum=momentum)
    rate, strength = real_scalars(matrix, learning_rate=learning_rate, momentum=momentum)
    _, cutoff = scalars_of(kernel, matrix, 0.0, cutoff)
    # Momentum is a branch of its own: its plain limit μ = 0 has a simpler, more exact form.
    has_momentum = _require_momentum(momentum)
    counts = _counts(steps, matrix, has_momentum)
    return _run(
        matrix,
        targets,
        rest[0] if rest else None,
        counts=counts,
        rates=(rate, strength if has_momentum else None),
        cutoff=cutoff,
    )


class _Counts(NamedTuple):
    """Numbers of steps: as floats, their remainder by two, and as whole numbers.

    Floats of many steps have lost their parity, so it is taken before.
    """

    t: Float[Array, " s"]
    parity: Float[Array, " s"]
    whole: Int[Array, " s"]


def _counts(steps: object, kernel: Array, has_momentum: bool) -> _Counts:
    given = real_array("steps", steps)
    if given.ndim != 1:
        raise InputError(
            f"steps has shape {given.shape}; give the numbers of steps as a list, such as [3]."
        )
    require_nonnegative(steps=given)
    [t] = real_like(kernel, steps=given)
    integers = jax.dtypes.canonicalize_dtype(jnp.int64)
    known = concrete(given)
    if known is None:
        return _Counts(t, jnp.asarray(given % 2, kernel.dtype), jnp.asarray(given, integers))
    host = known.astype(np.float64)
    [parity] = real_like(kernel, steps=host % 2)
    if not has_momentum:
        return _Counts(t, parity, jnp.zeros(host.shape, integers))
    if (host != np.round(host)).any():
        raise InputError("Some steps are not whole; with momentum only whole steps are defined.")
    if (host > np.iinfo(integers).max).any():
        raise InputError(
            f"steps goes up to {host.max():.4g}; with momentum give at most "
            f"{np.iinfo(integers).max}."
        )
    return _Counts(t, parity, jnp.asarray(known.astype(integers)))


@jax.jit
@full_precision
def _run(
    kernel: Array,
    targets: Array,
    query_kernel: Array | None,
    *,
    counts: _Counts,
    rates: tuple[Array, Array | None],
    cutoff: Array,
) -> LazyDynamics:
    n = len(kernel)
    learning_rate, momentum = rates
    kernel, unit = unit_scaled(kernel)
    targets, label_unit = unit_scaled(targets)
    eigenvalues, vectors, kept = eigenmodes((kernel + kernel.T) / 2, cutoff)
    speeds = jnp.where(kept, 2 / n * (learning_rate * unit) * eigenvalues, 0)
    learned = (
        _descent(speeds, counts) if momentum is None else _heavy_ball(speeds, counts, momentum)
    )
    modes = vectors.T @ targets
    learned = learned.reshape(learned.shape + (1,) * (targets.ndim - 1))
    train = label_unit * jnp.einsum("ni,si...->sn...", vectors, learned * modes)
    query = None
    if query_kernel is not None:
        scale = jnp.where(kept, 1 / jnp.where(kept, eigenvalues, 1), 0)
        scale = scale.reshape(scale.shape + (1,) * (targets.ndim - 1))
        rows = (query_kernel / unit) @ vectors
        query = label_unit * jnp.einsum("mi,si...->sm...", rows, learned * (scale * modes))
    is_stable = speeds[-1] < 2 * (1 + (0 if momentum is None else momentum))
    return LazyDynamics(train, query, is_stable)


def _require_momentum(momentum: ScalarLike) -> bool:
    """Whether the heavy-ball recursion is needed, after checking that it is defined."""
    value = concrete(momentum)
    if value is not None and (value >= 1).any():
        raise InputError(f"momentum is {momentum}; it must be at least zero and below one.")
    return value is None or bool(value.any())


def _descent(speeds: Array, counts: _Counts) -> Array:
    """1 − (1 − a)^t for each step t and each mode's speed a = 2ηλ/P, of shape (s, n).

    Slow modes would lose all digits in 1 − (…)^t, and oscillating ones (a > 1) have no
    real logarithm, hence sign and size apart.
    """
    t = counts.t[:, None]
    overshoots = speeds > 1
    base = jnp.abs(1 - speeds)
    logarithm = jnp.where(
        overshoots,
        jnp.log(jnp.where(base > 0, base, 1)),
        jnp.log1p(-jnp.where(speeds < 1, speeds, 0)),
    )
    exponent = t * logarithm
    sign = jnp.cos(jnp.pi * counts.parity)[:, None]
    learned = jnp.where(overshoots, 1 - sign * jnp.exp(exponent), -jnp.expm1(exponent))
    at_once = jnp.where(t > 0, jnp.ones_like(t), 0)
    return jnp.where(speeds == 1, at_once, learned)


def _heavy_ball(speeds: Array, counts: _Counts, momentum: Array) -> Array:
    """The learned share of each mode under momentum at whole steps, of shape (s, n).

    The residual obeys e⁺ = (1 + μ − a)e − μe⁻. Slow modes use the roots 1 − d of its
    characteristic polynomial, d² − (1 − μ + a)d + a = 0, free of cancellation; all others
    the power of the step's matrix by repeated squaring, exact also where roots coincide.
    """
    t = jnp.floor(counts.t)[:, None]
    is_slow = speeds < 0.5 * jnp.square(1 - jnp.sqrt(momentum))
    a = jnp.where(is_slow, speeds, 0)
    total = 1 - momentum + a
    gap = jnp.sqrt(jnp.square(total) - 4 * a)
    small = 2 * a / (total + gap)
    large = (total + gap) / 2
    # large ≤ 1, with equality for μ = 0 and a = 0 alone: then that root is zero.
    root = jnp.log1p(-jnp.where(large < 1, large, 0))
    large_power = jnp.where(large < 1, -jnp.expm1((t + 1) * root), 1)
    small_power = -jnp.expm1((t + 1) * jnp.log1p(-small))
    slow = (large * small_power - small * large_power) / gap
    fast = _matrix_power_share(jnp.where(is_slow, 1, speeds), counts.whole, momentum)
    return jnp.where(t == 0, 0, jnp.where(is_slow, slow, fast))


def _matrix_power_share(speeds: Array, whole: Array, momentum: Array) -> Array:
    """1 − e_t from powers of the map (e, ηm) → (e − ηm⁺, ηm⁺), ηm⁺ = μηm + ae."""
    matrix = jnp.stack(
        [
            jnp.stack([1 - speeds, -momentum * jnp.ones_like(speeds)], -1),
            jnp.stack([speeds, momentum * jnp.ones_like(speeds)], -1),
        ],
        -2,
    )
    state = jnp.zeros(whole.shape + speeds.shape + (2,), speeds.dtype).at[..., 0].set(1)

    def bit(k: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        power, state = carry
        moved = jnp.einsum("nij,snj->sni", power, state)
        is_set = (whole >> k) & 1
        return power @ power, jnp.where(is_set[:, None, None] == 1, moved, state)

    n_bits = jnp.iinfo(whole.dtype).bits - 1
    return 1 - jax.lax.fori_loop(0, n_bits, bit, (matrix, state))[1][..., 0]
