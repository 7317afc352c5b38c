"""Oracle: SciPy's DOP853 at tight tolerance, and closed forms of linear equations."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from lazyrich.numerics import RungeKuttaChebyshev


def chebyshev(field, y0, t1, **kwargs):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field), RungeKuttaChebyshev(), 0.0, t1, y0=y0, **kwargs
    )


def test_the_solver_is_of_second_order():
    """dy/dt = −y² + sin t against DOP853: error falls as the square of the step."""
    exact = solve_ivp(
        lambda t, y: -(y**2) + np.sin(t), (0, 2), [1.0], "DOP853", rtol=1e-13, atol=1e-13
    ).y[0, -1]
    n_steps = np.array([16, 32, 64, 128])

    def field(t, y, _):
        return -(y**2) + jnp.sin(t)

    # A step that is an array is compiled once for all.
    solutions = [chebyshev(field, jnp.array(1.0), 2.0, dt0=jnp.array(2 / n)) for n in n_steps]
    errors = [abs(float(solution.ys[0]) - exact) for solution in solutions]
    slope = np.polyfit(np.log(n_steps), np.log(errors), 1)[0]
    assert -2.15 < slope < -1.85


def test_stages_grow_as_the_root_of_the_stiffness():
    """Heat-like modes, λ up to 10⁵: right answer, in far fewer evaluations than λ·t/2."""
    decay = jnp.geomspace(1.0, 1e5, 40)
    n_evaluations = []

    def field(t, y, _):
        jax.debug.callback(lambda: n_evaluations.append(1))
        return -decay * (y - jnp.cos(t))

    controller = diffrax.PIDController(rtol=1e-6, atol=1e-8)
    solution = chebyshev(
        field, jnp.zeros(40), 2.0, dt0=None, stepsize_controller=controller, max_steps=10_000
    )
    jax.block_until_ready(solution)
    exact = (decay**2 * np.cos(2) + decay * np.sin(2) - decay**2 * np.exp(-2 * decay)) / (
        1 + decay**2
    )
    np.testing.assert_allclose(solution.ys[0], exact, atol=1e-5)
    assert len(n_evaluations) < 0.3 * 2.0 * 1e5 / 2


def test_a_hundred_times_the_time_costs_ten_times_the_work():
    """Modes from 10⁻⁶ to 1 are exp(−λt), and the work goes as √t while there are stages enough:
    with at most 200 of them it was 24 times as much."""
    n_evaluations = []

    def field(t, y, _):
        jax.debug.callback(lambda: n_evaluations.append(1))
        return -decay * y

    counts = []
    with jax.enable_x64(True):
        decay = jnp.geomspace(1e-6, 1.0, 30)
        controller = diffrax.PIDController(rtol=1e-3, atol=1e-5)
        for time in (1e4, 1e6):
            n_evaluations.clear()
            solution = chebyshev(
                field, jnp.ones(30), time, dt0=None, stepsize_controller=controller, max_steps=4000
            )
            jax.block_until_ready(solution)
            np.testing.assert_allclose(solution.ys[0], np.exp(-decay * time), atol=1e-3)
            counts.append(len(n_evaluations))
    assert counts[1] < 12 * counts[0]
