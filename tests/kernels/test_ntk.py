"""Oracle: Jacobians of a two-layer network written by hand in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import kernels as oracle

from lazyrich._base import InputError
from lazyrich.kernels import linearize, ntk

# Sums of a few hundred float64 products.
EXACT = 1e-12


def mlp(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def problem(seed=0, n_out=3):
    rng = np.random.default_rng(seed)
    params = {
        "w": rng.normal(size=(4, 7)) / 2,
        "b": rng.normal(size=7),
        "v": rng.normal(size=(7, n_out)),
    }
    return params, rng.normal(size=(6, 4)), rng.normal(size=(5, 4))


def as_jax(params):
    return jax.tree.map(jnp.asarray, params)


@pytest.mark.parametrize("block_size", [None, 1, 2, 100])
def test_full_kernel_is_the_jacobian_contraction(block_size):
    params, x, x2 = problem()
    left, right = oracle.mlp_jacobian(params, x), oracle.mlp_jacobian(params, x2)
    got = ntk(mlp, as_jax(params), jnp.asarray(x), jnp.asarray(x2), block_size=block_size)
    np.testing.assert_allclose(got, np.einsum("iap,jbp->ijab", left, right), rtol=EXACT, atol=EXACT)
    same = ntk(mlp, as_jax(params), jnp.asarray(x), block_size=block_size)
    np.testing.assert_allclose(same, np.einsum("iap,jbp->ijab", left, left), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("block_size", [None, 2])
def test_traced_is_the_sum_over_outputs_not_the_mean(block_size):
    params, x, x2 = problem()
    left, right = oracle.mlp_jacobian(params, x), oracle.mlp_jacobian(params, x2)
    got = ntk(
        mlp,
        as_jax(params),
        jnp.asarray(x),
        jnp.asarray(x2),
        trace_outputs=True,
        block_size=block_size,
    )
    np.testing.assert_allclose(got, np.einsum("iap,jap->ij", left, right), rtol=EXACT, atol=EXACT)


def test_one_output_without_its_axis_gives_a_matrix():
    params, x, _ = problem(n_out=1)
    jacobian = oracle.mlp_jacobian(params, x)[:, 0]
    for trace_outputs in (False, True):
        got = ntk(
            lambda p, x: mlp(p, x)[:, 0],
            as_jax(params),
            jnp.asarray(x),
            trace_outputs=trace_outputs,
        )
        np.testing.assert_allclose(got, jacobian @ jacobian.T, rtol=EXACT, atol=EXACT)


def test_jit_vmap_and_gradient_through_the_kernel():
    params, x, _ = problem()
    params, x = as_jax(params), jnp.asarray(x)
    plain = ntk(mlp, params, x)
    np.testing.assert_allclose(jax.jit(lambda p: ntk(mlp, p, x))(params), plain, rtol=EXACT)
    stacked = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
    both = jax.vmap(lambda p: ntk(mlp, p, x))(stacked)
    np.testing.assert_allclose(both[0], plain, rtol=EXACT)
    doubled = jax.tree.map(lambda a: 2 * a, params)
    np.testing.assert_allclose(both[1], ntk(mlp, doubled, x), rtol=EXACT)

    def trace(p):
        return jnp.trace(ntk(mlp, p, x, trace_outputs=True))

    direction = jax.tree.map(jnp.ones_like, params)
    step = 1e-5

    def moved(sign):
        return trace(jax.tree.map(lambda a, d: a + sign * step * d, params, direction))

    slope = jax.jvp(trace, (params,), (direction,))[1]
    # Central differences: error of order step² next to an order-one slope.
    np.testing.assert_allclose((moved(1) - moved(-1)) / (2 * step), slope, rtol=1e-7)


def test_float32_stays_float32_and_integer_leaves_stay_fixed():
    params, x, _ = problem()
    single = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params) | {"table": jnp.arange(4)}

    def permuted(p, x):
        return mlp({k: p[k] for k in "wbv"}, x[:, p["table"]])

    got = ntk(permuted, single, jnp.asarray(x, jnp.float32))
    assert got.dtype == jnp.float32
    jacobian = oracle.mlp_jacobian(params, x)
    # A sum of about a hundred float32 products of order one.
    np.testing.assert_allclose(got, np.einsum("iap,jbp->ijab", jacobian, jacobian), atol=1e-4)


def test_the_linearized_touches_the_network_at_the_start():
    params, x, _ = problem()
    params, x = as_jax(params), jnp.asarray(x)
    linearized = linearize(mlp, params)
    np.testing.assert_array_equal(linearized(params, x), mlp(params, x))
    np.testing.assert_allclose(ntk(linearized, params, x), ntk(mlp, params, x), rtol=EXACT)


def test_the_linearized_is_affine_and_its_slope_is_the_jacobian():
    params, x, _ = problem()
    rng = np.random.default_rng(5)
    change = {name: rng.normal(size=leaf.shape) for name, leaf in params.items()}
    moved = {name: params[name] + change[name] for name in params}
    flat = np.concatenate([change[name].ravel() for name in ("b", "v", "w")])
    wanted = oracle.mlp(params, x) + oracle.mlp_jacobian(params, x) @ flat
    linearized = linearize(mlp, as_jax(params))
    np.testing.assert_allclose(linearized(as_jax(moved), jnp.asarray(x)), wanted, rtol=1e-11)
    # Wherever it is taken, the linearized network's kernel is the kernel at the start.
    np.testing.assert_allclose(
        ntk(linearized, as_jax(moved), jnp.asarray(x)),
        ntk(mlp, as_jax(params), jnp.asarray(x)),
        rtol=EXACT,
    )


def test_the_linearized_goes_through_jit_and_vmap_as_a_value():
    params, x, _ = problem()
    params, x = as_jax(params), jnp.asarray(x)
    linearized = linearize(mlp, params)
    moved = jax.tree.map(lambda a: a + 0.1, params)
    call = jax.jit(lambda predict, p: predict(p, x))
    np.testing.assert_allclose(call(linearized, moved), linearized(moved, x), rtol=EXACT)
    starts = jax.tree.map(lambda a: jnp.stack([a, a + 0.1]), params)
    both = jax.vmap(lambda p0: linearize(mlp, p0)(moved, x))(starts)
    np.testing.assert_allclose(both[0], linearized(moved, x), rtol=EXACT)
    np.testing.assert_allclose(both[1], mlp(moved, x), rtol=EXACT)


def test_the_linearized_keeps_single_precision():
    single = {"w": jnp.ones(2, jnp.float32)}
    linearized = linearize(lambda p, x: x @ p["w"], single)
    assert linearized(single, jnp.ones((3, 2), jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize(
    "predict, message",
    [
        (lambda p, x: jnp.argmax(x @ p, 1), "has no derivative"),
        (lambda p, x: (x @ p).sum(), r"returned shape \(\) for 3 rows"),
        (lambda p, x: (x @ p)[:2], r"returned shape \(2, 2\) for 3 rows"),
        (lambda p, x: (x @ p)[:, :, None], r"returned shape \(3, 2, 1\)"),
        (lambda p, x: (x @ p, p), "returned a tuple"),
    ],
)
def test_predictors_that_cannot_have_a_kernel(predict, message):
    with pytest.raises(InputError, match=message):
        ntk(predict, jnp.ones((4, 2)), jnp.ones((3, 4)))


def test_bad_parameters_and_sizes():
    def line(p, x):
        return x @ p["w"]

    x, params = jnp.ones((3, 2)), {"w": jnp.ones(2)}
    with pytest.raises(InputError, match="leaf of type builtin_function"):
        linearize(line, {"w": jnp.ones(2), "activation": len})
    with pytest.raises(InputError, match="no floating array"):
        ntk(lambda p, x: x @ (1.0 * p), jnp.arange(2), x)
    with pytest.raises(InputError, match="complex"):
        ntk(lambda p, x: jnp.real(x @ p), jnp.ones(2, complex), x)
    with pytest.raises(InputError, match="block_size is 0"):
        ntk(line, params, x, block_size=0)
    with pytest.raises(InputError, match="one row or more"):
        ntk(line, params, jnp.ones((0, 2)))
    with pytest.raises(InputError, match="NaN or infinite"):
        ntk(line, params, x.at[0, 0].set(jnp.nan))
    linearized = linearize(line, params)
    with pytest.raises(InputError, match="pass a tree like that one"):
        linearized({"v": jnp.ones(2)}, x)
    with pytest.raises(InputError, match="other shapes"):
        linearized({"w": jnp.ones(3)}, x)
