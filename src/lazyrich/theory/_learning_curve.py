"""Expected errors of kernel regression from eigenvalues alone (§5's P ~ 1/λ, made exact)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real, ScalarLike

from lazyrich._base import (
    InputError,
    real_arrays,
    real_like,
    real_scalars,
    require_finite,
    require_nonnegative,
    require_positive,
    require_shapes,
)

# Halvings of the bracket in log κ: its width, at most 1500, falls below float64's rounding.
_HALVINGS = 64


class LearningCurve(NamedTuple):
    """Predicted kernel regression, one entry for each sample size.

    Attributes:
        test_error: mean squared error on the target without its noise, label units².
        train_error: mean squared error on the noisy training labels, label units².
        effective_ridge: κ, in the kernel's units: modes far above it are learned, those
            far below are not. Infinite at P = 0; zero past the rank if there is no ridge.
        learnability: λ/(λ + κ) of each mode, in [0, 1]; with the multiplicities these add
            up to P − ridge/κ, so that P samples learn at most P modes.
        overfitting_factor: by how much noise and unlearned power are amplified, at least
            1; infinite where P is the rank and there is no ridge.

    Example:
        >>> curve = learning_curve(jnp.array([1.0]), jnp.array([2.0]), n_train=jnp.array([0]))
        >>> curve.test_error.tolist(), curve.effective_ridge.tolist()
        ([2.0], [inf])
    """

    test_error: Float[Array, " s"]
    train_error: Float[Array, " s"]
    effective_ridge: Float[Array, " s"]
    learnability: Float[Array, "s k"]
    overfitting_factor: Float[Array, " s"]


class SampleRange(NamedTuple):
    """Sample sizes at which a rich network can generalise and the lazy one does not.

    Attributes:
        lower: about as many samples as the target has parameters; with fewer, no network
            generalises.
        upper: from where the lazy network generalises too, so that nothing is delayed.

    Example:
        >>> float(SampleRange(lower=jnp.array(20.0), upper=jnp.array(210.0)).upper)
        210.0
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]


def learning_curve(
    eigenvalues: Float[Array, " k"],
    target_power: Float[Array, " k"],
    *,
    n_train: Real[Array, " s"],
    multiplicities: Real[Array, " k"] | None = None,
    noise: ScalarLike = 0.0,
    ridge: ScalarLike = 0.0,
) -> LearningCurve:
    """The expected errors of kernel (ridge) regression on P random samples.

    κ solves P = Σ λ/(λ + κ) + ridge/κ. With 𝓛 = λ/(λ + κ), the test error against noisy
    labels is 𝓔 (Σ (1 − 𝓛)² v² + σ²) with 𝓔 = P/(P − Σ 𝓛²); here σ² is taken off again.

    The formula treats eigenfunctions as independent normal features, and many of them. For
    the committee machine's quadratic ones (D = 20, ε = 0.5, rank 230, 60 seeds) it is
    within 3 % and the seeds' error without noise and ridge. Near the rank it is far too
    low with either: at P of 1.3 times the rank by up to 59 % with a ridge of 0.01 and by
    up to 62 % with noise. The cause is that ‖x‖² of Gaussian inputs fluctuates, by 1/D:
    for inputs on the sphere, and for independent features, it is 1 to 4 %.

    Args:
        eigenvalues: λ, Mercer eigenvalues of the kernel over the inputs' distribution,
            zero or above (*not* those of a Gram matrix: divide these by its size).
        target_power: v², the target's power ⟨y ψ⟩², summed over each eigenspace, in label
            units². Power that the kernel cannot learn has eigenvalue zero.
        n_train: P, sample sizes, zero or above; need not be whole.
        multiplicities: how many eigenfunctions share each eigenvalue; None means one.
        noise: σ², variance of the noise on the training labels, label units².
        ridge: what is added to the diagonal of the Gram matrix, as in
            ``kernel_regression``: not multiplied by P.

    Returns:
        A LearningCurve. At P = 0 the error is the whole power. Without ridge, P at or past
        the rank leaves no error of the learnable power; noise there gives σ²·rank/(P −
        rank), infinite at P = rank.

    Raises:
        InputError: if shapes disagree or something is negative or not finite.

    Example:
        >>> curve = learning_curve(
        ...     jnp.array([0.5, 0.01]), jnp.array([1.0, 1.0]),
        ...     multiplicities=jnp.array([10, 1000]), n_train=jnp.array([0, 100, 10_000]),
        ... )
        >>> [round(float(error), 2) for error in curve.test_error]
        [2.0, 1.01, 0.0]

    References:
        Simon et al. (2023), "The Eigenlearning Framework"; Bordelon, Canatar and Pehlevan
        (2020); Canatar et al. (2021). Kumar et al. (2024), §5 uses P ~ 1/λ.
    """
    regression = _regression(eigenvalues, target_power, multiplicities, noise, ridge)
    [sizes] = real_like(regression.eigenvalues, n_train=n_train)
    require_shapes("s", n_train=sizes)
    require_nonnegative(n_train=sizes)
    return _learning_curve(sizes, regression)


def goldilocks_range(
    eigenvalues: Float[Array, " k"],
    target_power: Float[Array, " k"],
    *,
    dim: ScalarLike,
    multiplicities: Real[Array, " k"] | None = None,
    noise: ScalarLike = 0.0,
    ridge: ScalarLike = 0.0,
    threshold: ScalarLike = 0.1,
) -> SampleRange:
    """The sample sizes between which generalisation can be delayed (§5, §8.3.2).

    The lower edge is the number of inputs, the order at which a network that learns
    features finds a direction. The upper edge is where the *lazy* network's own predicted
    test error stays below the threshold: beyond it there is nothing left to learn late.

    Args:
        eigenvalues: as in ``learning_curve``, like the next five.
        target_power: v² in each eigenspace, label units².
        dim: D, number of inputs.
        multiplicities: how many eigenfunctions share each eigenvalue; None means one.
        noise: σ², label units².
        ridge: on the Gram matrix.
        threshold: the error that counts as generalising, as a share of the total power.

    Returns:
        A SampleRange in samples. The upper edge is the smallest P on a grid of 2000 sizes
        from 1 to 10¹², refined, beyond which the error is below the threshold; infinite if
        there is none. The range is empty (upper below lower) if the lazy network does as
        well with fewer samples than inputs.

    Raises:
        InputError: as ``learning_curve``, or if threshold or dim is not above zero.

    Example:
        >>> window = goldilocks_range(  # 20 linear functions, 209 quadratic ones
        ...     jnp.array([0.05, 0.0003]), jnp.array([0.0, 1.0]),
        ...     multiplicities=jnp.array([20, 209]), dim=20,
        ... )
        >>> [round(float(edge)) for edge in window]
        [20, 210]

    References:
        Kumar et al. (2024), §3 and §8.3.2.
    """
    regression = _regression(eigenvalues, target_power, multiplicities, noise, ridge)
    require_positive(threshold=threshold, dim=dim)
    require_finite(threshold=threshold, dim=dim)
    level, lower = real_scalars(regression.eigenvalues, threshold=threshold, dim=dim)
    return SampleRange(lower, _last_crossing(level, regression))


class _Regression(NamedTuple):
    """Kernel regression as the theory sees it: eigenspaces, noise and ridge, in one type."""

    eigenvalues: Float[Array, " k"]
    target_power: Float[Array, " k"]
    multiplicities: Float[Array, " k"]
    noise: Float[Array, ""]
    ridge: Float[Array, ""]


def _regression(
    eigenvalues: object,
    target_power: object,
    multiplicities: object | None,
    noise: ScalarLike,
    ridge: ScalarLike,
) -> _Regression:
    """The checks that both functions share."""
    values, power = real_arrays(eigenvalues=eigenvalues, target_power=target_power)
    counts = jnp.ones_like(values)
    if multiplicities is not None:
        [counts] = real_like(values, multiplicities=multiplicities)
    arrays = {"eigenvalues": values, "target_power": power, "multiplicities": counts}
    require_shapes("k k k", **arrays)
    if values.size == 0:
        raise InputError("eigenvalues holds nothing; give one eigenvalue or more.")
    require_nonnegative(**arrays, noise=noise, ridge=ridge)
    return _Regression(values, power, counts, *real_scalars(values, noise=noise, ridge=ridge))


@jax.jit
def _learning_curve(n_train: Array, regression: _Regression) -> LearningCurve:
    return jax.vmap(lambda n: _at_size(n, regression))(n_train)


def _at_size(n: Array, regression: _Regression) -> LearningCurve:
    eigenvalues, target_power, multiplicities, noise, ridge = regression
    counts = jnp.where(eigenvalues > 0, multiplicities, 0)
    rank = counts.sum()
    is_full = (n >= rank) & (ridge == 0)
    kappa = jnp.where(is_full, 0, _effective_ridge(n, eigenvalues, counts, ridge))
    total = jnp.where(eigenvalues > 0, eigenvalues + kappa, 1)
    learned = jnp.where(eigenvalues > 0, eigenvalues / total, 0)
    # From κ and not from 1 − 𝓛, which would lose the digits of well learned modes.
    unlearned = jnp.where(n == 0, 1, jnp.where(eigenvalues > 0, kappa / total, 1))
    # P − Σ𝓛, without the difference.
    slack = jnp.where(is_full, n - rank, ridge / jnp.where(kappa > 0, kappa, 1))
    remaining = (counts * learned * unlearned).sum() + slack
    is_empty, is_edge = n == 0, remaining == 0
    factor = jnp.where(is_empty, 1, n / jnp.where(is_edge, 1, remaining))
    noise_factor = jnp.where(
        is_empty, 0, (counts * learned**2).sum() / jnp.where(is_edge, 1, remaining)
    )
    factor = jnp.where(is_edge & ~is_empty, jnp.inf, factor)
    noise_factor = jnp.where(is_edge & ~is_empty, jnp.inf, noise_factor)
    bias = (unlearned**2 * target_power).sum()

    def times(factor: Array, power: Array) -> Array:
        return jnp.where(power > 0, factor * power, 0)  # zero also where the factor is infinite

    share = slack / jnp.where(is_empty, 1, n)
    return LearningCurve(
        test_error=times(factor, bias) + times(noise_factor, noise),
        train_error=jnp.where(share > 0, share**2 * times(factor, bias + noise), 0),
        effective_ridge=jnp.where(is_empty, jnp.inf, kappa),
        learnability=jnp.where(is_empty, 0, learned),
        overfitting_factor=factor,
    )


def _effective_ridge(n: Array, eigenvalues: Array, counts: Array, ridge: Array) -> Array:
    """κ by halving a bracket of log κ, and a Newton step, through which derivatives pass."""
    rank = counts.sum()

    def excess(kappa: Array, eigenvalues: Array, ridge: Array) -> Array:
        """Σ λ/(λ + κ) + ridge/κ − P, falling in κ, in the form without cancellation."""
        total = eigenvalues + kappa
        few = (counts * eigenvalues / total).sum() - n
        many = (rank - n) - (counts * kappa / total).sum()
        return jnp.where(2 * n < rank, few, many) + ridge / kappa

    tiny = jnp.finfo(n.dtype).tiny
    safe_n = jnp.maximum(n, tiny)
    smallest = jnp.min(jnp.where(eigenvalues > 0, eigenvalues, jnp.inf))
    # κ is at least that of equal, smallest eigenvalues, and at most that of 𝓛 = λ/κ.
    flat = jnp.where(rank > n, smallest * (rank - n) / safe_n, 0)
    low = jnp.log(jnp.maximum(jnp.maximum(flat, ridge / safe_n) / 2, tiny))
    high = jnp.log(2 * ((counts * eigenvalues).sum() + ridge) / safe_n + tiny)
    high = jnp.minimum(high, jnp.log(jnp.finfo(n.dtype).max) - 1)
    fixed = jax.lax.stop_gradient((eigenvalues, ridge))

    def halve(_: Array | int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        above = excess(jnp.exp(middle), *fixed) > 0
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, jax.lax.stop_gradient((low, high)))
    kappa = jax.lax.stop_gradient(jnp.exp((low + high) / 2))
    total = fixed[0] + kappa
    slope = -(counts * fixed[0] / total**2).sum() - fixed[1] / kappa**2
    step = excess(kappa, eigenvalues, ridge) / jnp.where(slope < 0, slope, -1)
    # Where κ is far from the root (P = 0) no step is taken.
    return jnp.where(jnp.abs(step) < 0.1 * kappa, kappa - step, kappa)


@jax.jit
def _last_crossing(threshold: Array, regression: _Regression) -> Array:
    level = threshold * regression.target_power.sum()

    def is_above(log_n: Array) -> Array:
        return _at_size(jnp.exp(log_n), regression).test_error > level

    grid = jnp.linspace(0.0, jnp.log(1e12), 2000, dtype=threshold.dtype)
    above = jax.lax.map(is_above, grid, batch_size=50)
    last = jnp.max(jnp.where(above, jnp.arange(len(grid)), -1))

    def halve(_: Array | int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        above = is_above(middle)
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    start = grid[jnp.clip(last, 0, len(grid) - 2)], grid[jnp.clip(last + 1, 1, len(grid) - 1)]
    crossing = jnp.exp(jax.lax.fori_loop(0, 40, halve, start)[1])
    return jnp.where(last < 0, 1.0, jnp.where(last == len(grid) - 1, jnp.inf, crossing))
