"""Oracle: the same numbers passed as JAX arrays, float64 Jacobians, and the texts of errors."""

from fractions import Fraction
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.jacobians import kernel_by_jacobians

from lazyrich._base import InputError
from lazyrich.kernels import (
    _memory,
    check_predictor,
    explain_ntk,
    linearize,
    ntk,
    ntk_operator,
    richness,
)

X = np.asarray([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])
P = jnp.asarray([0.5, -0.25])


def line(p, x):
    return jnp.tanh(x @ p)


def pair(p, parts):
    return jnp.tanh(parts["left"] * p[0] + parts["right"] * p[1])


def assert_same_everywhere(predict, params, x):
    """Every public function takes these parameters and inputs, and gives what arrays give."""
    wanted = np.asarray(ntk(line, P, jnp.asarray(X)))
    np.testing.assert_allclose(ntk(predict, params, x), wanted, rtol=1e-12)
    product = ntk_operator(predict, params, x, block_size=2)(jnp.ones(3))
    np.testing.assert_allclose(product, wanted.sum(1), rtol=1e-12)
    np.testing.assert_allclose(linearize(predict, params)(params, x), line(P, X), rtol=1e-12)
    assert float(richness(predict, params, params, x).kernel_distance) == 0
    check_predictor(predict, params, x)
    assert explain_ntk(predict, params, x).ways


@pytest.mark.parametrize("kind", ["lists", "tuples", "DataFrame", "tensor"])
def test_inputs_that_can_be_converted(kind, require_extra, unchecked):
    if kind == "DataFrame":
        x = require_extra("pandas").DataFrame(X)
    elif kind == "tensor":
        x = require_extra("torch").tensor(X, requires_grad=True)
    else:
        x = X.tolist() if kind == "lists" else tuple(map(tuple, X.tolist()))
    assert_same_everywhere(line, P, x)


@pytest.mark.parametrize("kind", ["array", "list", "tensor"])
def test_parameters_that_can_be_converted(kind, require_extra, unchecked):
    if kind == "tensor":
        params = require_extra("torch").tensor([0.5, -0.25], requires_grad=True).double()
    else:
        params = np.asarray(P) if kind == "array" else P.tolist()
    assert_same_everywhere(line, params, X)


def test_several_arrays_of_rows():
    x = {"left": X[:, 0], "right": X[:, 1].tolist()}
    assert_same_everywhere(pair, P, x)
    query = {name: np.asarray(part)[:2] for name, part in x.items()}
    kernel = ntk(pair, P, x, query, block_size=2)
    np.testing.assert_allclose(kernel, ntk(line, P, X, X[:2]), rtol=1e-12)
    with pytest.raises(InputError, match="mixes the rows"):
        ntk(lambda p, x: pair(p, x) - pair(p, x).mean(), P, x)


@pytest.mark.parametrize(
    "x, message",
    [
        ([["a", "b"]], "not an array of numbers"),
        ([[1.0, 2.0], [3.0]], "not an array of numbers"),
        (None, "hold no array"),
        (3.0, "one row or more"),
        ((np.ones((2, 1)), np.ones((3, 1))), "along their first axis"),
        (np.ma.masked_array(X, mask=X > 2), "masked entries"),
    ],
)
def test_inputs_that_cannot_be_converted(x, message):
    for ask in (ntk, ntk_operator, explain_ntk, check_predictor):
        with pytest.raises(InputError, match=message):
            ask(line, P, x)


def test_whole_numbers_among_the_parameters_are_values():
    def layers(p, x):
        for _ in range(p["depth"]):
            x = jnp.tanh(x * p["w"])
        return jax.lax.fori_loop(0, p["turns"], lambda _, z: jnp.sin(z * p["w"]), x).sum(1)

    params = {"w": P, "depth": 2, "turns": jnp.asarray(3)}
    wanted = kernel_by_jacobians(lambda w, x: layers(params | {"w": w}, x), P, jnp.asarray(X))
    kernel = np.asarray(ntk(layers, params, X))
    np.testing.assert_allclose(kernel, wanted.reshape(3, 3), rtol=1e-10)
    product = ntk_operator(layers, params, X)(jnp.ones(3))
    np.testing.assert_allclose(product, kernel.sum(1), rtol=1e-10)
    np.testing.assert_allclose(linearize(layers, params)(params, X), layers(params, X), rtol=1e-12)


@pytest.mark.parametrize(
    "params",
    [
        {"params": P, "batch_stats": P},
        {"params": P, "cache": {"key": P}},
        {"net": {"params": P, "batch_stats": {"mean": P}}},
        {"weight": P, "bn.running_mean": P},
    ],
)
def test_state_is_not_counted_as_parameters(params):
    for ask in (ntk, ntk_operator, explain_ntk, check_predictor):
        with pytest.raises(InputError, match="close over"):
            ask(lambda p, x: x @ P, params, X)
    with pytest.raises(InputError, match="close over"):
        linearize(lambda p, x: x @ P, params)


def test_integer_state_and_params_alone_are_allowed():
    params = {"params": P, "counters": np.arange(2)}
    np.testing.assert_allclose(ntk(lambda p, x: line(p["params"], x), params, X), ntk(line, P, X))


def test_state_of_frameworks_is_not_counted(require_extra):
    require_extra("flax")
    import equinox as eqx
    from flax import nnx

    model = nnx.BatchNorm(2, use_running_average=True, rngs=nnx.Rngs(0))
    graph, everything = nnx.split(model)
    with pytest.raises(InputError, match="BatchStat"):
        ntk(lambda s, x: nnx.merge(graph, s, copy=True)(x), everything, X)
    _, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(2, "batch", mode="batch")
    with pytest.raises(InputError, match="State"):
        ntk(lambda p, x: x @ p[0], (P, state), X)


def test_a_kernel_larger_than_memory_is_refused_before_anything_is_computed():
    x = np.ones((300_000, 2), np.float32)
    with pytest.raises(InputError, match=r"takes 670\.6 GiB and .* GiB are free.*ntk_operator"):
        ntk(line, P, x)
    with pytest.raises(InputError, match="3000² entries each takes"):
        ntk(lambda p, x: x @ p, jnp.ones((2, 3000)), x[:5000])


def test_what_is_free_on_a_device_is_what_its_limit_leaves():
    stats = {"bytes_limit": 100, "bytes_in_use": 30}
    gpu = SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    assert _memory.free_bytes(gpu) == 70
    assert _memory.free_bytes(SimpleNamespace(platform="gpu", memory_stats=lambda: None)) is None


def test_rows_that_are_nan_are_the_ones_that_are_named():
    broken = X.copy()
    broken[1, 0] = np.nan
    with pytest.raises(InputError, match="in 1 of 3 rows of x, the first of them row 1"):
        ntk(line, P, broken)
    with pytest.raises(InputError, match="in 1 of 3 rows of x2, the first of them row 1"):
        ntk(line, P, X, broken)
    with pytest.raises(InputError, match="parameters hold NaN"):
        ntk(line, P.at[0].set(jnp.nan), X)
    with pytest.raises(InputError, match="in 1 of 3 rows of x, the first of them row 2"):
        ntk(lambda p, x: jnp.sqrt(jnp.abs((x - jnp.asarray([0.5, 0.0])) @ p)), P, X)


@jax.custom_vjp
def scaled_back(z):
    return jnp.sin(z)


scaled_back.defvjp(lambda z: (jnp.sin(z), z), lambda z, g: (g * jnp.cos(z),))


def test_a_rule_for_cotangents_alone_serves_everything():
    def own(p, x):
        return scaled_back(x @ p)

    def plain(p, x):
        return jnp.sin(x @ p)

    v = jnp.arange(3.0)
    product = ntk_operator(own, P, X, block_size=2)(v)
    np.testing.assert_allclose(product, ntk(plain, P, X) @ v, rtol=1e-12)
    linearized, wanted = linearize(own, P), linearize(plain, P)
    np.testing.assert_allclose(linearized(2 * P, X), wanted(2 * P, X), rtol=1e-12)
    np.testing.assert_allclose(ntk(linearized, 2 * P, X), ntk(plain, P, X), rtol=1e-12)
    found, right = richness(own, P, 2 * P, X), richness(plain, P, 2 * P, X)
    np.testing.assert_allclose(found, right, rtol=1e-10)


def test_a_rule_that_is_not_linear_is_refused():
    @jax.custom_vjp
    def clipped(z):
        return z

    clipped.defvjp(lambda z: (z, None), lambda _, g: (jnp.clip(g, -0.1, 0.1),))
    with pytest.raises(InputError, match="custom_jvp"):
        linearize(lambda p, x: clipped(x @ p), P)(2 * P, X)


@pytest.mark.parametrize("seed", range(3))
def test_kernel_operator_and_jacobians_agree_for_parameters_of_many_types(seed):
    rng = np.random.default_rng(seed)
    params = {
        "w": rng.normal(size=(2, 4)).astype(np.float32),
        "b": jnp.asarray(rng.normal(size=4), jnp.bfloat16),
        "v": rng.normal(size=(4, 2)),
        "scale": float(rng.normal()),
        "shift": [0.5, -1.0],
        "table": np.arange(4)[::-1],
    }

    def predict(p, x):
        hidden = jnp.tanh(x @ p["w"] + p["b"])[:, p["table"]]
        return p["scale"] * (hidden @ p["v"]) + p["shift"]

    kernel = np.asarray(ntk(predict, params, X))
    moving = {k: jnp.asarray(v, float) for k, v in params.items() if k != "table"}
    exact = kernel_by_jacobians(
        lambda p, x: predict(p | {"table": params["table"]}, x), moving, jnp.asarray(X)
    )
    # Gradients of bfloat16 parameters are rounded to 8 bits.
    np.testing.assert_allclose(kernel, exact, rtol=0.02, atol=0.02 * np.abs(exact).max())
    operator, basis = ntk_operator(predict, params, X, block_size=2), jnp.eye(6).reshape(6, 3, 2)
    columns = np.stack([np.ravel(operator(v)) for v in basis], 1)
    matrix = kernel.transpose(0, 2, 1, 3).reshape(6, 6)
    np.testing.assert_allclose(columns, matrix, rtol=0.02, atol=0.02 * np.abs(matrix).max())


FORMS = {
    "quadruple precision": lambda a: a.astype(np.longdouble),
    "the other byte order": lambda a: a.astype(">f8"),
    "objects": lambda a: a.astype(object),
    "fractions": lambda a: np.vectorize(Fraction, otypes=[object])(a),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_numbers_of_types_that_jax_lacks_are_converted(form):
    wanted = np.asarray(ntk(line, P, jnp.asarray(X)))
    np.testing.assert_allclose(ntk(line, P, form(X)), wanted, rtol=1e-12)
    np.testing.assert_allclose(ntk(line, form(np.asarray(P)), jnp.asarray(X)), wanted, rtol=1e-12)


def linear(p, x):
    return x.astype(p.dtype) @ p


def test_whole_numbers_of_two_types_keep_their_values_or_are_refused():
    with jax.enable_x64(False):
        p, x2 = jnp.asarray(P, jnp.float32), jnp.asarray([[-100, 1]], jnp.int32)
        kernel = ntk(linear, p, jnp.asarray([[7, 1]], jnp.uint32), x2)
        np.testing.assert_allclose(kernel, [[-699.0]])
        with pytest.raises(InputError, match="x has the type uint32 and x2 int32"):
            ntk(linear, p, jnp.asarray([[4_000_000_000, 1]], jnp.uint32), x2)


def test_types_without_a_common_one_are_refused():
    small = jnp.asarray(X, jnp.float8_e4m3fn)
    with pytest.raises(InputError, match="type float8_e4m3fn and x2 float64"):
        ntk(linear, P, small, jnp.asarray(X))


def test_a_predictor_may_print(capfd):
    def told(p, x):
        jax.debug.print("largest {}", x.max())
        return line(p, x)

    np.testing.assert_allclose(ntk(told, P, X), ntk(line, P, X), rtol=1e-12)


@pytest.mark.parametrize("v", [np.ones(3) * 1j, ["a", "b", "c"]])
def test_an_operator_takes_real_vectors_alone(v, unchecked):
    with pytest.raises(InputError, match="real numbers"):
        ntk_operator(line, P, X)(v)
