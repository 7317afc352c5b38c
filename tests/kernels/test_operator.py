"""Oracle: the dense tangent kernel and dense kernel regression."""

import jax
import jax.numpy as jnp
import jaxtyping
import lineax
import numpy as np
import pytest
from oracles import kernels as oracle

from lazyrich._base import InputError
from lazyrich.kernels import (
    condition_report,
    flatten_kernel,
    kernel_regression,
    linearize,
    ntk,
    ntk_operator,
    operator_regression,
)

N, M, N_OUT = 11, 7, 2


def net(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def one_output(params, x):
    return net(params, x)[:, 0]


def problem(dtype=jnp.float64):
    rng = np.random.default_rng(0)
    params = {
        "w": rng.normal(size=(4, 20)) / 2,
        "b": rng.normal(size=20),
        "v": rng.normal(size=(20, N_OUT)),
    }
    arrays = params, rng.normal(size=(N, 4)), rng.normal(size=(M, 4)), rng.normal(size=(N, N_OUT))
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), arrays)


def dense(params, x, x2):
    """The flattened kernel by hand-written Jacobians."""
    numpy_params = jax.tree.map(np.asarray, params)
    rows, columns = (oracle.mlp_jacobian(numpy_params, np.asarray(a)) for a in (x, x2))
    return rows.reshape(-1, rows.shape[-1]) @ columns.reshape(-1, columns.shape[-1]).T


@pytest.mark.parametrize("block_size", [None, 1, 4, 11, 100])
def test_products_are_those_of_the_matrix(block_size):
    params, x, query, v = problem()
    operator = ntk_operator(net, params, x, block_size=block_size)
    wanted = dense(params, x, x) @ np.asarray(v).ravel()
    np.testing.assert_allclose(operator(v).ravel(), wanted, rtol=1e-11, atol=1e-11)
    across = ntk_operator(net, params, query, x, block_size=block_size)
    wanted = dense(params, query, x) @ np.asarray(v).ravel()
    np.testing.assert_allclose(across(v).ravel(), wanted, rtol=1e-11, atol=1e-11)


def test_one_output_without_its_axis():
    params, x, _, v = problem()
    wanted = ntk(one_output, params, x) @ v[:, 0]
    np.testing.assert_allclose(ntk_operator(one_output, params, x)(v[:, 0]), wanted, rtol=1e-11)


def test_it_is_a_value_for_jit_vmap_and_twins():
    params, x, _, v = problem()
    operator = ntk_operator(linearize(net, params), params, x, block_size=4)
    wanted = dense(params, x, x) @ np.asarray(v).ravel()
    apply = jax.jit(lambda operator, v: operator(v))
    np.testing.assert_allclose(apply(operator, v).ravel(), wanted, rtol=1e-11, atol=1e-11)
    many = jax.vmap(operator)(jnp.stack([v, 2 * v]))
    np.testing.assert_allclose(many[1].ravel(), 2 * wanted, rtol=1e-11, atol=1e-11)


def test_regression_by_conjugate_gradients():
    params, x, query, y = problem()
    fit = operator_regression(
        ntk_operator(net, params, x, block_size=4),
        y,
        ntk_operator(net, params, query, x, block_size=4),
        ridge=0.1,
        tolerance=1e-10,
    )
    wanted = kernel_regression(
        flatten_kernel(ntk(net, params, x)),
        y.reshape(-1),
        flatten_kernel(ntk(net, params, query, x)),
        ridge=0.1,
    )
    assert bool(fit.is_converged)
    assert float(fit.relative_residual) < 1e-9
    np.testing.assert_allclose(fit.predictions.ravel(), wanted, atol=1e-7)
    assert 1 < int(fit.n_steps) <= 10 * N * N_OUT


def test_regression_scales_with_its_targets():
    params, x, query, y = problem()
    operators = ntk_operator(net, params, x), ntk_operator(net, params, query, x)
    options = {"ridge": 1.0, "tolerance": 1e-12}
    one = operator_regression(operators[0], y, operators[1], **options)
    big = operator_regression(operators[0], 1e8 * y, operators[1], **options)
    # The tolerance times a condition number of a few hundred.
    np.testing.assert_allclose(big.predictions, 1e8 * one.predictions, rtol=1e-8)
    none = operator_regression(operators[0], 0 * y, operators[1], ridge=1.0)
    np.testing.assert_array_equal(none.predictions, jnp.zeros((M, N_OUT)))
    assert bool(none.is_converged)


def test_giving_up_is_told():
    params, x, query, y = problem()
    fit = operator_regression(
        ntk_operator(net, params, x), y, ntk_operator(net, params, query, x), max_steps=2
    )
    assert not bool(fit.is_converged)
    assert float(fit.relative_residual) > 1e-3


def test_single_precision():
    params, x, query, y = problem(jnp.float32)
    fit = operator_regression(
        ntk_operator(net, params, x), y, ntk_operator(net, params, query, x), ridge=1.0
    )
    assert fit.predictions.dtype == jnp.float32
    params, x, query, y = problem()
    wanted = kernel_regression(
        flatten_kernel(ntk(net, params, x)),
        y.reshape(-1),
        flatten_kernel(ntk(net, params, query, x)),
        ridge=1.0,
    )
    # The float32 tolerance of 1e-5 times a condition number of a few hundred.
    np.testing.assert_allclose(fit.predictions.ravel(), wanted, atol=2e-3)


def test_lineax_sees_a_positive_operator():
    params, x, query, y = problem()
    operator = ntk_operator(net, params, x).as_lineax(ridge=0.5)
    assert lineax.is_positive_semidefinite(operator)
    assert lineax.is_symmetric(operator)
    matrix = dense(params, x, x) + 0.5 * np.eye(N * N_OUT)
    got = operator.as_matrix().reshape(matrix.shape)
    np.testing.assert_allclose(got, matrix, rtol=1e-10, atol=1e-10)
    across = ntk_operator(net, params, query, x).as_lineax()
    assert not lineax.is_positive_semidefinite(across)
    np.testing.assert_allclose(
        across.mv(y).ravel(), dense(params, query, x) @ np.asarray(y).ravel(), rtol=1e-10
    )


def test_matfree_finds_the_top_of_the_spectrum(require_extra):
    require_extra("matfree")
    from matfree import decomp

    params, x, _, y = problem()
    operator = ntk_operator(one_output, params, x, block_size=4)
    lanczos = decomp.tridiag_sym(9, reortho="full")
    tridiagonal = lanczos(operator, y[:, 0])
    got = np.linalg.eigvalsh(np.asarray(tridiagonal.J_small))[-1]
    report = condition_report(ntk(one_output, params, x))
    np.testing.assert_allclose(got, report.largest, rtol=1e-9)


def test_matfree_and_traceax_estimate_the_trace(require_extra):
    require_extra("matfree")
    require_extra("traceax")
    import traceax
    from matfree import stochtrace

    params, x, _, y = problem()
    operator = ntk_operator(one_output, params, x)
    wanted = np.trace(ntk(one_output, params, x))
    sample = stochtrace.sampler_signs(y[:, 0], num=2000)
    estimate = stochtrace.estimator_monte_carlo(stochtrace.monte_carlo_trace(), sampler=sample)
    # 2000 signs: a standard error of √(2‖K_off‖²/2000), about 2 % of the trace here.
    np.testing.assert_allclose(estimate(operator, jax.random.key(0)), wanted, rtol=0.08)
    hutchinson = traceax.HutchinsonEstimator(traceax.NormalSampler())
    found, _ = hutchinson.estimate(jax.random.key(1), operator.as_lineax(), k=2000)
    np.testing.assert_allclose(found, wanted, rtol=0.08)


def test_bad_input_gets_one_sentence():
    params, x, query, y = problem()
    square, across = ntk_operator(net, params, x), ntk_operator(net, params, query, x)
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(InputError, match=r"v has shape \(11,\); this operator takes \(11, 2\)"):
            square(y[:, 0])
        with pytest.raises(InputError, match="block_size is 0"):
            ntk_operator(net, params, x, block_size=0)
        with pytest.raises(InputError, match="x holds 1 entries"):
            ntk_operator(net, params, x.at[0, 0].set(jnp.nan))
        with pytest.raises(InputError, match="pairs two input sets"):
            operator_regression(across, y, across)
        with pytest.raises(InputError, match="all three must agree"):
            operator_regression(square, y[:, 0], across)
        with pytest.raises(InputError, match="targets holds"):
            operator_regression(square, y * jnp.nan, across)
        with pytest.raises(InputError, match=r"ridge is -1\.0"):
            operator_regression(square, y, across, ridge=-1.0)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
