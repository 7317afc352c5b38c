"""The lazy network at every step at once: exact linearised gradient descent (§3)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Real, ScalarLike

from lazyrich._ground import InputError, require_positive

from ._checks import require_kernel, require_nonnegative, require_query_kernel
from ._spectral import eigenmodes


class LazyDynamics(NamedTuple):
    """Predictions of the linearised network during gradient descent.

    Attributes:
        train: f on the training rows at each of the asked steps, in label units.
        query: the same on the query rows; None if no query kernel was given.
        is_stable: whether the step size is below the largest that converges,
            2(1 + momentum) / (2λ_max/P).
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
            means n × machine epsilon of the kernel's dtype.

    Returns:
        A LazyDynamics; exactly zero at step zero, and for steps → ∞ the prediction of
        ``kernel_regression`` if is_stable. Otherwise the predictions are those that
        descent would make: they grow, and are infinite or NaN past the largest number
        of the dtype.

    Raises:
        InputError: if shapes disagree, something is not finite, the rate is not above
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
    kernel, targets, steps = map(jnp.asarray, (kernel, targets, steps))
    require_kernel(kernel, targets)
    require_positive(learning_rate=learning_rate)
    require_nonnegative(learning_rate=learning_rate, steps=steps, momentum=momentum)
    has_momentum = _require_momentum(momentum, steps)
    if query_kernel is not None:
        require_query_kernel(query_kernel, kernel)

    n = len(kernel)
    eigenvalues, vectors, kept = eigenmodes((kernel + kernel.T) / 2, cutoff)
    rates = jnp.asarray(2 * jnp.asarray(learning_rate) / n, kernel.dtype)
    speeds = jnp.where(kept, rates * eigenvalues, 0)
    # Momentum is a branch of its own: its plain limit μ = 0 has a simpler, more exact form.
    learned = (
        _heavy_ball(speeds, steps, jnp.asarray(momentum, kernel.dtype))
        if has_momentum
        else _descent(speeds, steps)
    )
    modes = vectors.T @ targets
    learned = learned.reshape(learned.shape + (1,) * (targets.ndim - 1))
    train = jnp.einsum("ni,si...->sn...", vectors, learned * modes)
    query = None
    if query_kernel is not None:
        scale = jnp.where(kept, 1 / jnp.where(kept, eigenvalues, 1), 0)
        scale = scale.reshape(scale.shape + (1,) * (targets.ndim - 1))
        query = jnp.einsum("mi,si...->sm...", query_kernel @ vectors, learned * (scale * modes))
    is_stable = speeds[-1] < 2 * (1 + jnp.asarray(momentum, kernel.dtype))
    return LazyDynamics(train, query, is_stable)


def _require_momentum(momentum: ScalarLike, steps: Array) -> bool:
    """Whether the heavy-ball recursion is needed, after checking that it is defined."""
    try:
        value = np.asarray(momentum)
    except jax.errors.TracerArrayConversionError:
        return True
    if not value.any():
        return False
    if (value >= 1).any():
        raise InputError(f"momentum is {momentum}; it must be at least zero and below one.")
    try:
        whole = np.asarray(steps)
    except jax.errors.TracerArrayConversionError:
        return True
    if (whole != np.round(whole)).any():
        raise InputError("Some steps are not whole; with momentum only whole steps are defined.")
    return True


def _descent(speeds: Array, steps: Array) -> Array:
    """1 − (1 − a)^t for each step t and each mode's speed a = 2ηλ/P, of shape (s, n).

    Slow modes would lose all digits in 1 − (…)^t, and oscillating ones (a > 1) have no
    real logarithm, hence sign and size apart.
    """
    t = jnp.asarray(steps, speeds.dtype)[:, None]
    overshoots = speeds > 1
    base = jnp.abs(1 - speeds)
    logarithm = jnp.where(
        overshoots,
        jnp.log(jnp.where(base > 0, base, 1)),
        jnp.log1p(-jnp.where(speeds < 1, speeds, 0)),
    )
    exponent = t * logarithm
    # Whole numbers keep their parity exactly if it is taken before they become floats.
    sign = jnp.cos(jnp.pi * jnp.asarray(steps % 2, speeds.dtype))[:, None]
    learned = jnp.where(overshoots, 1 - sign * jnp.exp(exponent), -jnp.expm1(exponent))
    at_once = jnp.where(t > 0, jnp.ones_like(t), 0)
    return jnp.where(speeds == 1, at_once, learned)


def _heavy_ball(speeds: Array, steps: Array, momentum: Array) -> Array:
    """The learned share of each mode under momentum at whole steps, of shape (s, n).

    The residual obeys e⁺ = (1 + μ − a)e − μe⁻. Slow modes use the roots 1 − d of its
    characteristic polynomial, d² − (1 − μ + a)d + a = 0, free of cancellation; all others
    the power of the step's matrix by repeated squaring, exact also where roots coincide.
    """
    t = jnp.floor(jnp.asarray(steps, speeds.dtype))[:, None]
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
    fast = _matrix_power_share(jnp.where(is_slow, 1, speeds), steps, momentum)
    return jnp.where(t == 0, 0, jnp.where(is_slow, slow, fast))


def _matrix_power_share(speeds: Array, steps: Array, momentum: Array) -> Array:
    """1 − e_t from powers of the map (e, ηm) → (e − ηm⁺, ηm⁺), ηm⁺ = μηm + ae."""
    matrix = jnp.stack(
        [
            jnp.stack([1 - speeds, -momentum * jnp.ones_like(speeds)], -1),
            jnp.stack([speeds, momentum * jnp.ones_like(speeds)], -1),
        ],
        -2,
    )
    whole = jnp.asarray(steps, jax.dtypes.canonicalize_dtype(jnp.int64))
    state = jnp.zeros(whole.shape + speeds.shape + (2,), speeds.dtype).at[..., 0].set(1)

    def bit(k: Array | int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        power, state = carry
        moved = jnp.einsum("nij,snj->sni", power, state)
        is_set = (whole >> k) & 1
        return power @ power, jnp.where(is_set[:, None, None] == 1, moved, state)

    n_bits = jnp.iinfo(whole.dtype).bits - 1
    return 1 - jax.lax.fori_loop(0, n_bits, bit, (matrix, state))[1][..., 0]
