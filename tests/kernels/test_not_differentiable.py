"""Oracle: what JAX's own transformations refuse, one sentence for each; explicit Jacobians.

Predictors that fail, that have no derivative or that cannot be run row by row, and arrays
that are gone.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.jacobians import kernel_by_jacobians

from lazyrich import diagnose
from lazyrich._base import InputError
from lazyrich.kernels import check_predictor, explain_ntk, linearize, ntk, ntk_operator, richness

X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)))
W = jnp.asarray(np.random.default_rng(1).normal(size=(4, 4)))


def until(w, x):
    go_on = lambda state: state[0] < 3  # noqa: E731
    return jax.lax.while_loop(go_on, lambda s: (s[0] + 1, jnp.tanh(s[1] @ w)), (0, x))[1]


def callback(values, **how):
    shape = jax.ShapeDtypeStruct(values.shape, values.dtype)
    return jax.pure_callback(lambda a: np.asarray(a) * 2, shape, values, **how)


NO_DERIVATIVE = {
    "while": until,
    "callback": lambda w, x: callback(x @ w, vmap_method="sequential"),
    "callback of weights": lambda w, x: x @ callback(w, vmap_method="sequential"),
    "repeated scatter": lambda w, x: x.at[:, jnp.array([0, 0])].multiply(w[0, :2]),
}
BROKEN = {
    "shapes": lambda w, x: x @ w[:3],
    "no rule": lambda w, x: jax.custom_jvp(lambda a: a)(x @ w),
    "names": lambda w, x: w["kernel"],
    "Python branch": lambda w, x: x @ w if x.sum() > 0 else x,
    "NumPy": lambda w, x: np.asarray(x) @ np.asarray(w),
}  # fmt: skip
ASKED = {
    "ntk": lambda f, w: ntk(f, w, X),
    "within memory": lambda f, w: ntk(f, w, X, memory="1GiB"),
    "jit": lambda f, w: jax.jit(lambda w: ntk(f, w, X))(w),
    "explain": lambda f, w: explain_ntk(f, w, X),
    "operator": lambda f, w: ntk_operator(f, w, X),
    "check": lambda f, w: check_predictor(f, w, X),
    "richness": lambda f, w: richness(f, w, 2 * w, X),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", NO_DERIVATIVE)
def test_what_has_no_derivative_is_one_sentence(name, asked):
    with pytest.raises(InputError, match=r"^(JAX cannot differentiate|predict fails)") as caught:
        ASKED[asked](NO_DERIVATIVE[name], W)
    assert "stop_gradient" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("asked", ASKED)
def test_what_cannot_be_run_row_by_row_is_one_sentence(asked):
    with pytest.raises(InputError, match=r"many rows at once .*pure_callback.*vmap_method"):
        ASKED[asked](lambda w, x: callback(x) @ w, W)


@pytest.mark.parametrize("name", BROKEN)
def test_a_predictor_that_fails_is_one_sentence(name):
    for ask in (ASKED["ntk"], ASKED["operator"], lambda f, w: linearize(f, w)(w, X)):
        with pytest.raises(InputError, match="predict fails on") as caught:
            ask(BROKEN[name], W)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is not None


def test_a_loop_without_a_reverse_rule_can_be_linearized():
    # f_lin(θ) = f(θ₀) + J(θ − θ₀), with J by forward derivatives of the loop written out.
    def written_out(w, x):
        return jnp.tanh(jnp.tanh(jnp.tanh(x @ w) @ w) @ w)

    change = 0.1 * jnp.cos(W)
    expected = written_out(W, X) + jnp.einsum("ncij,ij->nc", jax.jacrev(written_out)(W, X), change)
    np.testing.assert_allclose(linearize(until, W)(W + change, X), expected, rtol=1e-10)


def test_outputs_along_the_first_axis_are_refused():
    # As many outputs as rows: the shape is the one that is wanted, and means something else.
    with pytest.raises(InputError, match="mixes the rows"):
        ntk(lambda w, x: (x @ w[:, :1].repeat(5, 1)).T, W, X)


def test_outputs_of_eight_bits_are_refused():
    with pytest.raises(InputError, match="float8_e4m3fn, which is too coarse"):
        ntk(lambda w, x: (x @ w).astype(jnp.float8_e4m3fn), W, X)


@pytest.mark.parametrize("block_size", [0, -1, 2.5, "3", True, np.nan])
def test_a_number_of_rows_that_is_none(block_size, unchecked):
    for ask in (ntk, ntk_operator):
        with pytest.raises(InputError, match=r"block_size is .*; it must be one row or more"):
            ask(lambda w, x: x @ w, W, X, block_size=block_size)


def test_deleted_arrays_are_named():
    gone, rows = jnp.array(W), jnp.array(X)
    gone.delete()
    rows.delete()
    for ask in (ntk, ntk_operator, explain_ntk):
        with pytest.raises(InputError, match=r"parameters hold an array .* deleted .*donate"):
            ask(lambda w, x: x @ w, gone, X)
        with pytest.raises(InputError, match=r"inputs hold an array .* deleted"):
            ask(lambda w, x: x @ w, W, rows)
    with pytest.raises(InputError, match="was deleted"):
        diagnose(lambda w, x: x @ w, gone, W, X)


def test_keys_that_have_no_order():
    params = {1: W, "w": W}
    for ask in (ntk, ntk_operator, explain_ntk):
        with pytest.raises(InputError, match="parameters cannot be flattened"):
            ask(lambda p, x: x @ p[1], params, X)
        with pytest.raises(InputError, match="inputs cannot be flattened"):
            ask(lambda w, x: x[1] @ w, W, {1: X, "x": X})
    with pytest.raises(InputError, match="cannot be flattened"):
        diagnose(lambda p, x: x @ p[1], params, params, X)


def test_an_index_beyond_the_table_has_no_derivative():
    # As in jax.grad, which the network is trained with: the value read is the table's end.
    numbers = jnp.array([[0, 9], [1, 2], [3, -1], [5, -8], [2, 0]])
    params = {"table": jnp.asarray(np.random.default_rng(2).normal(size=(6, 40))), "v": W[:, 0]}

    def predict(p, x):
        return jnp.tanh(p["table"][x].sum(1))[:, :4] @ p["v"]

    expected = kernel_by_jacobians(lambda p, x: predict(p, x)[:, None], params, numbers)[..., 0, 0]
    np.testing.assert_allclose(ntk(predict, params, numbers), expected, rtol=1e-10)
    assert explain_ntk(predict, params, numbers)["['table']"].kind == "lookup"


@pytest.mark.parametrize("asked", ["ntk", "operator", "check"])
def test_a_sparse_matrix_of_parameters_is_taken_or_refused_in_a_sentence(asked):
    """JAX differentiates its product with one row and, in some versions, not with many."""
    sparse = pytest.importorskip("jax.experimental.sparse")
    matrix = sparse.BCOO.fromdense(W * (W > 0))

    def predict(values, x):
        return jnp.tanh(x @ sparse.BCOO((values, matrix.indices), shape=matrix.shape))

    def row(values):
        return predict(values, X[:1])[0]

    def together(values):
        return jax.vmap(lambda row: predict(values, row[None])[0])(X)

    try:
        jax.eval_shape(lambda values: jax.vjp(together, values)[1](X @ W), matrix.data)
    except Exception:
        assert jax.jacrev(row)(matrix.data).shape == (4, matrix.nse)
        with pytest.raises(InputError, match=r"on many rows at once .*todense"):
            ASKED[asked](predict, matrix.data)
        return
    found = ASKED[asked](predict, matrix.data)
    if asked == "ntk":
        wanted = kernel_by_jacobians(predict, matrix.data, X)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
