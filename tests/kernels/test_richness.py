"""Oracle: networks whose laziness is known in closed form, and Jacobians by hand."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from oracles import kernels as oracle

from lazyrich._base import InputError
from lazyrich.kernels import linearize, low_rank_measure, richness


def mlp(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def problem(seed=0):
    rng = np.random.default_rng(seed)
    params = {
        "w": rng.normal(size=(4, 7)) / 2,
        "b": rng.normal(size=7),
        "v": rng.normal(size=(7, 3)),
    }
    change = {name: rng.normal(size=leaf.shape) for name, leaf in params.items()}
    return params, change, rng.normal(size=(6, 4))


def as_jax(tree):
    return jax.tree.map(jnp.asarray, tree)


def test_all_three_by_hand():
    params0, change, x = problem()
    params = {name: params0[name] + 0.3 * change[name] for name in params0}
    jacobians = [oracle.mlp_jacobian(p, x) for p in (params0, params)]
    kernels = [np.einsum("iap,jap->ij", j, j) for j in jacobians]
    flat0, flat = (
        np.concatenate([p[name].ravel() for name in ("b", "v", "w")]) for p in (params0, params)
    )
    moved = oracle.mlp(params, x) - oracle.mlp(params0, x)
    missed = moved - jacobians[0] @ (flat - flat0)
    got = richness(mlp, as_jax(params0), as_jax(params), jnp.asarray(x))
    norm = np.linalg.norm
    np.testing.assert_allclose(
        got.kernel_distance, norm(kernels[1] - kernels[0]) / norm(kernels[0]), rtol=1e-11
    )
    np.testing.assert_allclose(got.parameter_change, norm(flat - flat0) / norm(flat0), rtol=1e-12)
    np.testing.assert_allclose(got.linearized_gap, norm(missed) / norm(moved), rtol=1e-10)


def test_all_fall_with_the_first_power_of_the_movement():
    params0, change, x = problem()
    steps = np.array([1e-3, 1e-4])
    reports = [
        richness(
            mlp,
            as_jax(params0),
            as_jax({name: params0[name] + step * change[name] for name in params0}),
            jnp.asarray(x),
        )
        for step in steps
    ]
    for near, far in zip(reports[1], reports[0], strict=True):
        # The next order is a thousandth of the first at the larger step.
        assert np.log10(far / near) == pytest.approx(1.0, abs=0.01)


def test_a_linear_network_is_never_rich():
    params0, change, x = problem()
    linearized = linearize(mlp, as_jax(params0))
    moved = as_jax({name: params0[name] + 5 * change[name] for name in params0})
    got = richness(linearized, as_jax(params0), moved, jnp.asarray(x))
    assert float(got.kernel_distance) < 1e-12
    assert float(got.linearized_gap) < 1e-12
    assert float(got.parameter_change) > 1


def test_nothing_has_moved():
    params0, _, x = problem()
    got = richness(mlp, as_jax(params0), as_jax(params0), jnp.asarray(x))
    assert float(got.kernel_distance) == 0.0
    assert float(got.parameter_change) == 0.0
    assert np.isnan(got.linearized_gap)
    with pytest.raises(InputError, match="pass a tree like that one"):
        richness(mlp, as_jax(params0), {"w": jnp.ones(2)}, jnp.asarray(x))


def test_low_rank_measure_is_one_minus_the_alignment_with_a_projection():
    rng = np.random.default_rng(1)
    features, outputs = rng.normal(size=(30, 5)) + 2, rng.normal(size=(30, 2)) - 1
    centred = outputs - outputs.mean(0)
    projection = centred @ np.linalg.pinv(centred)
    # An alignment with "targets" whose Gram matrix is the projection.
    wanted = 1 - oracle.centered_alignment(features @ features.T, np.linalg.svd(centred)[0][:, :2])
    np.testing.assert_allclose(
        low_rank_measure(jnp.asarray(features), jnp.asarray(outputs)), wanted, rtol=1e-10
    )
    kernel = oracle.centering(30) @ features @ features.T @ oracle.centering(30)
    direct = 1 - (kernel * projection).sum() / np.linalg.norm(kernel) / np.linalg.norm(projection)
    np.testing.assert_allclose(wanted, direct, rtol=1e-10)


def test_low_rank_measure_at_its_ends():
    rng = np.random.default_rng(2)
    outputs = jnp.asarray(rng.normal(size=(40, 3)))
    basis = np.linalg.qr(np.asarray(outputs - outputs.mean(0)))[0]
    # Minimal features: the outputs' directions with equal sizes, turned and shifted.
    turn = np.linalg.qr(rng.normal(size=(10, 10)))[0][:3]
    assert low_rank_measure(jnp.asarray(basis @ turn + 7.0), outputs) == pytest.approx(0, abs=1e-12)
    rest = np.linalg.qr(np.concatenate([basis, np.ones((40, 1)), rng.normal(size=(40, 6))], 1))[0]
    useless = jnp.asarray(rest[:, 4:])
    assert low_rank_measure(useless, outputs) == pytest.approx(1, abs=1e-12)
    # m useless directions of equal size beside the one used: 1 − 1/√(1 + m).
    mixed = jnp.asarray(np.concatenate([basis[:, :1], rest[:, 4:9]], 1))
    got = low_rank_measure(mixed, jnp.asarray(basis[:, 0]))
    assert got == pytest.approx(1 - 1 / np.sqrt(6), abs=1e-12)
    # Invariant to the outputs' basis and scale, and to more columns saying the same.
    again = low_rank_measure(mixed, jnp.asarray(basis[:, :1] * np.array([1.0, -20.0]) + 3))
    assert again == pytest.approx(float(got), abs=1e-12)


def test_low_rank_measure_special_values_and_bad_input():
    y = jnp.arange(5.0)
    assert np.isnan(low_rank_measure(jnp.ones((5, 2)), y))
    assert np.isnan(low_rank_measure(y[:, None], jnp.full(5, 0.1)))
    single = low_rank_measure(y[:, None].astype(jnp.float32) + 100, y.astype(jnp.float32))
    assert single.dtype == jnp.float32
    assert abs(float(single)) < 1e-5
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(InputError, match="on the same rows"):
            low_rank_measure(jnp.ones((5, 2)), jnp.ones(4))
        with pytest.raises(InputError, match="features holds"):
            low_rank_measure(jnp.full((5, 2), jnp.nan), y)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
