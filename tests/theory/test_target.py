"""Oracle: exact Gaussian quadrature, and the integral operator of Eq. 11 on its nodes."""

import jax.numpy as jnp
import numpy as np
import pytest
from oracles import committee_network, gaussian

from lazyrich._base import InputError
from lazyrich.theory import (
    initial_eigenvalues,
    polynomial_target,
    target_components,
    target_matrix,
    target_power,
)

DIM, EPSILON = 3, 0.6
POINTS, MASS = gaussian.quadrature(DIM, variance=1 / DIM, order=4)


def _directions(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, DIM))


def _apply_operator(function):
    overlap = POINTS @ POINTS.T
    return (overlap + EPSILON**2 * overlap**2) @ (MASS * function)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_parts_sum_to_the_target_and_are_eigenfunctions(n):
    directions = _directions(n)
    parts = target_components(jnp.asarray(directions), jnp.asarray(POINTS))
    np.testing.assert_allclose(sum(parts), committee_network.target(directions, POINTS), rtol=1e-11)
    for part, eigenvalue in zip(parts, initial_eigenvalues(DIM, epsilon=EPSILON), strict=True):
        np.testing.assert_allclose(
            _apply_operator(np.asarray(part)), float(eigenvalue) * part, atol=1e-13
        )


def test_erratum_the_norm_part_scales_with_the_direction():
    """Eq. 17 prints ‖x‖²/D for ‖β‖²‖x‖²/D: its bracket is no eigenfunction unless ‖β‖ = 1."""
    eigenvalue = 2 * EPSILON**2 / DIM**2
    for beta, is_unit in ((2 * _directions(1)[0], False), (np.array([0.6, 0.8, 0.0]), True)):
        printed = 0.5 * ((POINTS @ beta) ** 2 - (POINTS**2).sum(1) / DIM)
        gap = np.abs(_apply_operator(printed) - eigenvalue * printed).max()
        assert (gap < 1e-13) == is_unit
        holds = np.asarray(target_components(jnp.asarray(beta), jnp.asarray(POINTS)).quadratic)
        assert np.abs(_apply_operator(holds) - eigenvalue * holds).max() < 1e-13
        if not is_unit:
            assert gap > 0.01  # of labels of order one


@pytest.mark.parametrize("n", [1, 2, 3])
def test_power_of_each_part(n):
    directions = jnp.asarray(_directions(n, seed=1))
    power = target_power(directions)
    for part, value in zip(target_components(directions, jnp.asarray(POINTS)), power, strict=True):
        assert float(value) == pytest.approx(MASS @ np.asarray(part) ** 2, rel=1e-11, abs=1e-15)
    total = MASS @ committee_network.target(np.asarray(directions), POINTS) ** 2
    assert float(sum(power)) == pytest.approx(total, rel=1e-11)


def test_power_of_one_direction():
    beta = jnp.asarray(_directions(1, seed=2)[0])
    assert float(sum(target_power(beta))) == pytest.approx(
        3 * float(beta @ beta) ** 2 / (4 * DIM**2), rel=1e-12
    )


def test_as_many_equal_directions_as_inputs_leave_the_norm_alone():
    power = target_power(jnp.eye(DIM))
    assert float(power.quadratic) == pytest.approx(0, abs=1e-15)
    assert float(power.squared_norm) == pytest.approx((1 + 2 / DIM) / 4, rel=1e-12)


def test_matrix_is_that_of_the_target():
    directions = jnp.asarray(_directions(2, seed=3))
    x = jnp.asarray(POINTS)
    quadratic_form = 0.5 * np.einsum("ni,ij,nj->n", POINTS, target_matrix(directions), POINTS)
    np.testing.assert_allclose(quadratic_form, polynomial_target(directions, x), rtol=1e-11)


def test_bad_input_is_refused(unchecked):
    with pytest.raises(InputError, match="directions holds 1 entries"):
        target_power(jnp.array([1.0, jnp.nan]))
    with pytest.raises(InputError, match=r"give \(d,\), or \(k, d\)"):
        target_matrix(jnp.ones((2, 2, 2)))
    with pytest.raises(InputError, match=r"x \(5, 2\), target \(3, 3\) disagree"):
        target_components(jnp.ones(3), jnp.ones((5, 2)))
    with pytest.raises(InputError, match="x holds 1 entries"):
        target_components(jnp.ones(2), jnp.array([[1.0, jnp.inf]]))
