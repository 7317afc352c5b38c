"""A stabilised explicit solver for gradient flows: Runge–Kutta–Chebyshev.

Gradient flow of a trained network is mildly stiff: long after the error has become
smooth, an explicit Runge–Kutta method still has to take steps of about 2/λ_max of the
tangent kernel. With s stages a Chebyshev method is stable up to 0.65 s²/λ_max, so the
work grows with the square root of the stiffness, without solving a linear system.
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, ScalarLike

# Damping: keeps the stability polynomial at 1 − DAMPING/3 inside the stable interval.
DAMPING = 2 / 13
# The power iteration approaches the spectral radius from below.
SAFETY = 1.2
# Rounding grows with the square of the stages: to 2·10⁻³ and 2·10⁻¹⁰ of the state at these. A flow
# that has almost come to rest is held up by the bound, not by its accuracy.
_MOST_STAGES = {4: 200, 8: 1000}
# The spectral radius drifts slowly: a power iteration, worth two stages, every so many steps.
_FOLLOW_EVERY = 4


Term = diffrax.AbstractTerm
Real = Array | np.ndarray | float
Polynomial = tuple[Array, Array, Array]
"""Value, first and second derivative of a Chebyshev polynomial at one point."""


class _Memory(NamedTuple):
    """Carried from step to step: f at the left end, and the power iteration's vector."""

    f0: PyTree[Array]
    direction: PyTree[Array]
    spectral_radius: Float[Array, ""]
    age: Int[Array, ""]


def _norm(tree: PyTree[Array]) -> Float[Array, ""]:
    return jnp.sqrt(jax.tree.reduce(jnp.add, jax.tree.map(lambda a: jnp.square(a).sum(), tree)))


def _combine(*terms: tuple[ScalarLike, PyTree[Array]]) -> PyTree[Array]:
    """Σ coefficient · tree."""
    coefficients, trees = zip(*terms, strict=True)
    return jax.tree.map(
        lambda *leaves: sum(c * leaf for c, leaf in zip(coefficients, leaves, strict=True)),
        *trees,
    )


def _power_step(
    field: Callable[[PyTree[Array]], PyTree[Array]], y: PyTree[Array], direction: PyTree[Array]
) -> tuple[PyTree[Array], Float[Array, ""]]:
    """One power iteration on the Jacobian of the field at y, from a unit direction."""
    image = jax.jvp(field, (y,), (direction,))[1]
    radius = _norm(image)
    scale = 1 / jnp.maximum(radius, jnp.finfo(radius.dtype).tiny)
    return jax.tree.map(lambda a: a * scale, image), radius


class RungeKuttaChebyshev(diffrax.AbstractAdaptiveSolver):
    """Second-order Runge–Kutta–Chebyshev with as many stages as each step needs.

    For fields whose Jacobian has eigenvalues near the negative real axis, such as
    gradient flows. With s stages a step h is stable while h·λ_max ≤ 0.653 (s² − 1); the
    spectral radius λ_max is followed by power iteration.

    Gradients through a solve need ``adjoint=diffrax.ForwardMode()``: the number of
    stages is a run-time value.

    Example:
        >>> solution = diffrax.diffeqsolve(  # y′ = −y, stiff enough for several stages
        ...     diffrax.ODETerm(lambda t, y, args: -jnp.array([1.0, 1000.0]) * y),
        ...     RungeKuttaChebyshev(), t0=0.0, t1=1.0, dt0=None, y0=jnp.ones(2),
        ...     stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-5),
        ... )
        >>> round(float(solution.ys[0, 0]), 3)  # 1/e
        0.368

    References:
        Sommeijer, Shampine and Verwer (1998), RKC: an explicit solver for parabolic
        PDEs, J. Comput. Appl. Math. 88.
    """

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar = diffrax.ThirdOrderHermitePolynomialInterpolation

    def order(self, terms: Term) -> int:
        return 2

    def error_order(self, terms: Term) -> int:
        return 3

    def init(self, terms: Term, t0: Real, t1: Real, y0: PyTree, args: PyTree) -> _Memory:
        """Evaluate the field, and run the power iteration until it has settled."""

        def field(y: PyTree) -> PyTree:
            return terms.vf(t0, y, args)

        f0 = field(y0)
        norm = _norm(f0)
        ones = jax.tree.map(jnp.ones_like, f0)
        # At a fixed point the field has no direction to offer.
        start = jax.tree.map(lambda a, b: jnp.where(norm > 0, a, b), f0, ones)
        scale = _norm(start)
        direction = jax.tree.map(lambda a: a / scale, start)

        def iterate(
            _: ScalarLike, carry: tuple[PyTree[Array], Array]
        ) -> tuple[PyTree[Array], Array]:
            return _power_step(field, y0, carry[0])

        direction, radius = jax.lax.fori_loop(0, 20, iterate, (direction, norm))
        return _Memory(f0, direction, radius, jnp.asarray(0))

    def func(self, terms: Term, t0: Real, y0: PyTree, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Term,
        t0: Real,
        t1: Real,
        y0: PyTree,
        args: PyTree,
        solver_state: _Memory,
        made_jump: Array | np.ndarray | bool,
    ) -> tuple[PyTree, PyTree, dict[str, PyTree], _Memory, diffrax.RESULTS]:
        """One step with the smallest stable number of stages, and its error estimate."""
        del made_jump

        def field(t: Real, y: PyTree) -> PyTree:
            return terms.vf(t, y, args)

        h = jnp.asarray(t1 - t0)
        f0 = solver_state.f0
        direction, radius = jax.lax.cond(
            solver_state.age % _FOLLOW_EVERY == 0,
            lambda: _power_step(lambda y: field(t0, y), y0, solver_state.direction),
            lambda: (solver_state.direction, solver_state.spectral_radius),
        )
        radius = jnp.maximum(radius, 0.9 * solver_state.spectral_radius)
        y1 = _stages(field, t0, h, y0, f0, _n_stages(h * SAFETY * radius))
        f1 = field(t1, y1)
        error = _combine((0.8, y0), (-0.8, y1), (0.4 * h, f0), (0.4 * h, f1))
        dense_info = {
            "y0": y0,
            "y1": y1,
            "k0": jax.tree.map(lambda a: h * a, f0),
            "k1": jax.tree.map(lambda a: h * a, f1),
        }
        memory = _Memory(f1, direction, radius, solver_state.age + 1)
        return y1, error, dense_info, memory, diffrax.RESULTS.successful


def _n_stages(stiffness: Float[Array, ""]) -> Array:
    """The smallest s ≥ 2 whose stable interval 0.653(s² − 1) covers h·λ_max."""
    stages = jnp.ceil(jnp.sqrt(1 + stiffness / 0.653))
    most = _MOST_STAGES[stages.dtype.itemsize]
    bounded = jnp.where(jnp.isfinite(stages), jnp.clip(stages, 2, most), most)
    return bounded.astype(int)


def _stages(
    field: Callable[[Real, PyTree[Array]], PyTree[Array]],
    t0: Real,
    h: Array,
    y0: PyTree[Array],
    f0: PyTree[Array],
    n_stages: Array,
) -> PyTree[Array]:
    """The internal stages Y_1 … Y_s by the three-term recurrence of Chebyshev polynomials."""
    squares = jnp.square(n_stages).astype(h.dtype)
    w0 = 1 + DAMPING / squares
    # θ = arccosh(w0) without cancellation; T_s = cosh(sθ).
    theta = jnp.log1p(DAMPING / squares + jnp.sqrt((DAMPING / squares) * (2 + DAMPING / squares)))
    angle = n_stages * theta
    first = n_stages * jnp.sinh(angle) / jnp.sinh(theta)
    second = (squares * jnp.cosh(angle) - w0 * first) / (w0**2 - 1)
    w1 = first / second

    def chebyshev(previous: Polynomial, last: Polynomial) -> Polynomial:
        """The polynomial of the next degree at w0."""
        value = 2 * w0 * last[0] - previous[0]
        slope = 2 * w0 * last[1] - previous[1] + 2 * last[0]
        curvature = 2 * w0 * last[2] - previous[2] + 4 * last[1]
        return value, slope, curvature

    def weight(polynomial: Polynomial) -> Array:
        return polynomial[2] / polynomial[1] ** 2

    one, zero = jnp.ones_like(w0), jnp.zeros_like(w0)
    degree0, degree1 = (one, zero, zero), (w0, one, zero)
    b0 = weight(chebyshev(degree0, degree1))
    b1 = 1 / w0
    y_first = _combine((one, y0), (w1 * b1 * h, f0))

    def stage(_: ScalarLike, carry: tuple) -> tuple:
        (y_before, y_last), (p_before, p_last), (b_before, b_last), (c_before, c_last) = carry
        p = chebyshev(p_before, p_last)
        b = weight(p)
        mu, nu = 2 * b * w0 / b_last, -b / b_before
        mu_field = 2 * b * w1 / b_last
        gamma = -(1 - b_last * p_last[0]) * mu_field
        f = field(t0 + c_last * h, y_last)
        y = _combine(
            (1 - mu - nu, y0), (mu, y_last), (nu, y_before), (mu_field * h, f), (gamma * h, f0)
        )
        c = mu * c_last + nu * c_before + mu_field + gamma
        return (y_last, y), (p_last, p), (b_last, b), (c_last, c)

    carry = ((y0, y_first), (degree0, degree1), (b0, b1), (zero, w1 * b1))
    return jax.lax.fori_loop(1, n_stages, stage, carry)[0][1]
