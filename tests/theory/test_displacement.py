"""Oracle: projections on the explicit Jacobian of all weights, in float64 NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from oracles import committee_network

from lazyrich._base import InputError
from lazyrich.theory import WeightMoments, displacement_moments, tangent_split, weight_moments

DIM, WIDTH, N_TRAIN, ALPHA, EPSILON = 4, 9, 7, 1.7, 0.4


def problem(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_TRAIN, DIM)) / np.sqrt(DIM)
    return x, rng.normal(size=(WIDTH, DIM)), rng.normal(size=(3, WIDTH, DIM))


def jacobian(x, weights):
    """∂f(x_μ)/∂w_i = (α/N)(1 + ε w_i·x_μ) x_μ, written out."""
    slope = 1 + EPSILON * x @ weights.T
    return (ALPHA / WIDTH * slope[:, :, None] * x[:, None, :]).reshape(len(x), -1)


def test_the_two_parts_are_the_projection_and_the_rest():
    x, weights, displacements = problem()
    # The last displacement lies in the tangent space itself.
    J = jacobian(x, weights)
    displacements[-1] = (J.T @ np.arange(N_TRAIN)).reshape(WIDTH, DIM)
    many = [displacement_moments(jnp.asarray(weights), jnp.asarray(one)) for one in displacements]
    displacement = type(many[0])(*(jnp.stack(parts) for parts in zip(*many, strict=True)))
    split = tangent_split(
        displacement,
        weight_moments(jnp.asarray(weights)),
        jnp.asarray(x),
        alpha=ALPHA,
        epsilon=EPSILON,
        width=WIDTH,
    )
    flat = displacements.reshape(3, -1)
    inside = flat @ (np.linalg.pinv(J) @ J)
    np.testing.assert_allclose(split.inside, np.linalg.norm(inside, axis=1), rtol=1e-9)
    # A root of rounding: 1e-8 of the length is zero here.
    outside = np.linalg.norm(flat - inside, axis=1)
    np.testing.assert_allclose(split.outside, outside, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(WIDTH * displacement.square, np.square(flat).sum(1), rtol=1e-12)


def test_the_oracle_s_jacobian_is_that_of_the_network():
    x, weights, _ = problem()
    step = 1e-6 * np.random.default_rng(1).normal(size=weights.shape)

    def output(w):
        return committee_network.output(w, np.ones(WIDTH), x, alpha=ALPHA, epsilon=EPSILON)

    change = (output(weights + step) - output(weights - step)) / 2
    np.testing.assert_allclose(change, jacobian(x, weights) @ step.ravel(), rtol=1e-6, atol=1e-14)


def test_shapes_that_disagree_get_one_sentence():
    x, weights, displacements = problem()
    displacement = displacement_moments(jnp.asarray(weights), jnp.asarray(displacements[0]))
    with pytest.raises(InputError, match="mean_weight"):
        tangent_split(
            displacement,
            WeightMoments(jnp.zeros(DIM + 1), jnp.eye(DIM + 1)),
            jnp.asarray(x),
            alpha=1.0,
            epsilon=0.1,
            width=3,
        )
