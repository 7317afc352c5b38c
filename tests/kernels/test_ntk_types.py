"""Oracle: explicit Jacobians contracted in NumPy float64 (oracles/jacobians.py); closed forms.

Networks whose values are not all of one real type: complex numbers on the way from real
parameters to real outputs, integer and Boolean activations, narrow floats, parameters of
several types.
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.jacobians import kernel_by_jacobians

from lazyrich._base import InputError
from lazyrich.kernels import explain_ntk, ntk

# Rounding of float64 sums over a few hundred products of numbers of order one.
RTOL = 1e-11


def draw(seed, *shape, dtype=float):
    values = np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[0])
    return jnp.asarray(values, dtype)


def check(predict, params, x, rtol=RTOL, forms=(False, True)):
    full = kernel_by_jacobians(predict, params, x)
    assert np.abs(full).max() > 0
    for traced in forms:
        expected = np.einsum("ijaa->ij", full) if traced else full
        kernel = ntk(predict, params, x, trace_outputs=traced)
        np.testing.assert_allclose(kernel, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def each_in_one_form(names):
    """Names with and without a trace over the outputs, of which the slow tests have every other."""
    return [
        pytest.param(name, traced, marks=pytest.mark.slow if (k + traced) % 2 else ())
        for k, name in enumerate(names)
        for traced in (False, True)
    ]


# --- complex values between real parameters and real outputs ---------------------------

ROOTS = np.exp(2j * np.pi * np.outer(range(4), range(4)) / 4)

COMPLEX = {
    "transformed weights": lambda w, x: jnp.real(x @ jnp.fft.fft(w, axis=0)),
    "real transform": lambda w, x: jnp.abs(jnp.fft.rfft(x @ w, axis=1)),
    "filtered": lambda w, x: jnp.fft.irfft(jnp.fft.rfft(x) * jnp.fft.rfft(w.T)[0], n=4),
    "phase": lambda w, x: jnp.real(jnp.exp(1j * (x @ w))),
    "complex data": lambda w, x: jnp.imag((x * (1 - 2j)) @ w),
    "complex constant": lambda w, x: jnp.abs(jnp.einsum("ni,ij,jk->nk", x, ROOTS, w)),
    "angle": lambda w, x: jnp.angle(x @ w + 2j),
    "conjugate": lambda w, x: (jnp.conj(x @ w * 1j) * (x @ w + 1j)).real,
    "complex bias": lambda w, x: jnp.abs(1j * x[:, :4] + w[0]),
    "scaled by a complex scalar": lambda w, x: jnp.abs((x @ w) * (0.5 + 1j) + 1),
    "parts": lambda w, x: jnp.abs(jax.lax.complex(x @ w[:, :2], x @ w[:, 2:])),
    "looked up": lambda w, x: jnp.abs(jnp.exp(1j * w)[(x[:, 0] > 0).astype(int)] + 1),
    "complex weights, then real ones": lambda w, x: jnp.tanh(x @ jnp.fft.fft(w).real) @ w,
}  # fmt: skip


@pytest.mark.parametrize(("name", "traced"), each_in_one_form(COMPLEX))
def test_a_real_parameter_through_a_complex_value(name, traced):
    check(COMPLEX[name], draw(0, 4, 4), draw(1, 3, 4), forms=[traced])


def test_the_transform_of_a_vector_in_closed_form():
    # f = Σ_jk x_j cos(2πjk/2) w_k is linear in w: here Θ = 2 x·x′.
    x = jnp.array([[1.0, 2.0], [3.0, -1.0]])
    kernel = ntk(lambda w, x: jnp.real(x @ jnp.fft.fft(w)), jnp.array([1.0, 2.0]), x)
    np.testing.assert_allclose(kernel, [[10.0, 2.0], [2.0, 20.0]], rtol=RTOL)


def test_a_parameter_beside_complex_values_stays_structured():
    params = {"w": draw(0, 4, 4), "v": draw(1, 4, 3)}

    def predict(p, x):
        return jnp.abs(jnp.fft.fft(jnp.tanh(x @ p["w"]))) @ p["v"]

    check(predict, params, draw(2, 3, 4))
    ways = explain_ntk(predict, params, draw(2, 3, 4))
    assert ways["['w']"].kind == ways["['v']"].kind == "contraction"


def test_complex_parameters_are_refused():
    with pytest.raises(InputError, match="pass its real and imaginary parts instead"):
        ntk(lambda w, x: jnp.abs(x @ w), jnp.ones(2, complex), jnp.ones((1, 2)))


# --- activations that are not floats -----------------------------------------------------

INTEGERS = ["bool", "uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "int4", "uint4"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_products_of_integer_activations_do_not_wrap_around(dtype, unchecked):
    largest = 1 if dtype == "bool" else min(int(jnp.iinfo(dtype).max), 2**30)
    x = jnp.full((2, 3), largest).at[1, 0].set(0).astype(dtype)
    # jnp.matmul does not mix 4-bit integers with floats, the operation below it does.
    numbers = (((1,), (0,)), ((), ()))
    product = lambda w, x: jax.lax.dot_general(x, w, numbers, preferred_element_type=float)  # noqa: E731
    kernel = ntk(product, jnp.ones(3), x)
    wanted = np.asarray(x, float) @ np.asarray(x, float).T
    np.testing.assert_allclose(kernel, wanted, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64"])
def test_row_numbers_of_a_narrow_type(dtype):
    table = draw(0, 300, 2)
    x = jnp.array([[3, 127], [100, 3], [44, 0]], dtype)
    check(lambda table, x: jnp.sin(table[x]).sum(1), table, x)


@pytest.mark.parametrize("mode", ["clip", "fill"])
def test_row_numbers_beyond_the_table(mode):
    def predict(table, x):
        return jnp.tanh(table.at[x].get(mode=mode, fill_value=0.0)).sum(1)

    check(predict, draw(0, 30, 2), jnp.array([[3, 40], [29, 55], [-1, -40], [-31, 0]]))


NOT_FLOAT = {
    "bits": lambda w, x: ((x[:, None] >> jnp.arange(6)) & 1) @ w,
    "popcount": lambda w, x: jax.lax.population_count(x[:, None] * jnp.arange(1, 7)) @ w,
    "one-hot": lambda w, x: jax.nn.one_hot(x % 6, 6, dtype=jnp.int8) @ w,
    "comparison": lambda w, x: jnp.tanh((x[:, None] > jnp.arange(6) * 30) @ w),
    "mask": lambda w, x: jnp.einsum("nk,kc->nc", x[:, None] % 2 == jnp.arange(6) % 2, w),
    "counts": lambda w, x: jnp.sin(1e-4 * ((x[:, None] * jnp.ones(6, jnp.uint8)) @ w)),
    "quantised": lambda w, x: ((x[:, None] * jnp.ones(6)).astype(jnp.float8_e4m3fn)
                               .astype(jnp.bfloat16).astype(float)) @ w,
    "rounded and counted": lambda w, x: jnp.round(jnp.sin(x[:, None] + w[0])).astype(int) @ w[:2],
}  # fmt: skip


@pytest.mark.parametrize(("name", "traced"), each_in_one_form(NOT_FLOAT))
def test_activations_that_are_not_floats(name, traced):
    x = jnp.array([200, 17, 255], jnp.uint8)
    check(NOT_FLOAT[name], draw(0, 6, 2), x, forms=[traced])


# --- narrow floats -----------------------------------------------------------------------


def test_a_half_precision_kernel_whose_activations_overflow():
    # h·h′ = 4 · 300² is beyond float16; g·g′ = (2/1024)² makes it small again.
    x = jnp.full((2, 4), 300.0, jnp.float16)
    w = jnp.ones(4, jnp.float16)
    kernel = ntk(lambda w, x: (x @ w) / 512, w, x)
    assert kernel.dtype == jnp.float16
    np.testing.assert_allclose(np.asarray(kernel, float), 4 * 300**2 / 512**2, rtol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_kernels_are_as_exact_as_their_derivatives(dtype):
    params = {"w": draw(0, 60, 40, dtype=dtype), "b": draw(1, 40, dtype=dtype)}
    params["gain"] = draw(2, 40, dtype=dtype)

    def predict(p, x):
        return jnp.tanh(x @ p["w"] + p["b"]) * p["gain"]

    x = 100 * draw(3, 3, 60, dtype=dtype)
    expected = kernel_by_jacobians(predict, params, x)
    kernel = np.asarray(ntk(predict, params, x, trace_outputs=True), float)
    # One rounding of the result; the derivatives' own roundings are in the oracle too.
    eps = float(jnp.finfo(dtype).eps)
    wanted = np.einsum("ijaa->ij", expected)
    np.testing.assert_allclose(kernel, wanted, rtol=eps, atol=eps * np.abs(wanted).max())


@pytest.mark.parametrize("inner", ["float32", "bfloat16", "float16"])
def test_parameters_of_several_types(inner):
    params = {"w": draw(0, 5, 6), "v": draw(1, 6, 6, dtype=inner), "b": draw(2, 6, dtype=inner)}
    params |= {"u": draw(3, 6, 2), "step": jnp.arange(2), "scale": draw(4, 1)[0]}

    def predict(p, x):
        hidden = jnp.tanh(x @ p["w"]).astype(inner)
        hidden = jnp.tanh(hidden @ p["v"] + p["b"]).astype(float)
        return p["scale"] * hidden @ p["u"] + p["step"]

    check(predict, params, draw(5, 4, 5), rtol=20 * float(jnp.finfo(inner).eps))


# --- random networks ---------------------------------------------------------------------

LAYERS = {
    "dense": lambda x, w: x @ w,
    "transform": lambda x, w: jnp.fft.fft(x @ w).real,
    "spectral weights": lambda x, w: x @ jnp.fft.fft(w, axis=1).imag,
    "phase": lambda x, w: jnp.real(jnp.exp(1j * x) @ w),
    "modulus": lambda x, w: jnp.abs(x @ w + 1j),
    "complex bias": lambda x, w: jnp.imag((x + 1j * w[0]) ** 2),
    "signs": lambda x, w: (x > 0) @ w + x,
    "rounded": lambda x, w: jnp.round(20 * x).astype(jnp.int8) @ w / 20 + jnp.sin(x),
    "levels": lambda x, w: w[jnp.clip(3 * x[:, 0] + 3, 0, 5).astype(jnp.uint8)] + x,
    "narrow": lambda x, w: (x @ w).astype(jnp.float32).astype(float),
    "single": lambda x, w: jnp.tanh(x.astype(jnp.float32) @ w.astype(jnp.float32)).astype(float),
    "bias": lambda x, w: jnp.tanh(x + w[0]),
}


def check_random_network(layers, seed):
    params = {str(k): draw(seed + k, 6, 6) for k in range(len(layers))}
    params |= {"last": draw(seed + 50, 6, 2), "count": jnp.array(3)}

    def predict(p, x):
        for k, name in enumerate(layers):
            x = LAYERS[name](x, p[str(k)])
        return x @ p["last"] / p["count"]

    rtol = 1e-4 if {"narrow", "single"} & set(layers) else 1e-9
    check(predict, params, draw(seed + 51, 3, 6), rtol=rtol)


NAMES = st.sampled_from(sorted(LAYERS))


@settings(max_examples=2, deadline=None, derandomize=True)
@given(layers=st.lists(NAMES, min_size=1, max_size=3), seed=st.integers(0, 2**16))
def test_random_networks_of_many_types(layers, seed):
    check_random_network(layers, seed)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(layers=st.lists(NAMES, min_size=1, max_size=6), seed=st.integers(0, 2**16))
def test_many_random_networks_of_many_types(layers, seed):
    check_random_network(layers, seed)


# --- derivative rules of the predictor's own ---------------------------------------------


@jax.custom_jvp
def value_and_norm(x):
    return jnp.sin(x), (x**2).sum()


@value_and_norm.defjvp
def _(primals, tangents):
    (x,), (t,) = primals, tangents
    return value_and_norm(x), (jnp.cos(x) * t, 2 * (x * t).sum())


@jax.custom_jvp
def centred_below(x):
    return jnp.tanh(x)


@centred_below.defjvp
def _(primals, tangents):
    # The rule mixes entries that the value itself does not mix.
    return jnp.tanh(primals[0]), tangents[0] - tangents[0].mean()


def test_rules_with_outputs_of_unlike_shapes():
    def predict(w, x):
        value, norm = jax.vmap(value_and_norm)(x @ w)
        return value * norm[:, None]

    check(predict, draw(0, 4, 3), draw(1, 3, 4))


def test_a_rule_that_mixes_more_than_its_value_does():
    def predict(w, x):
        hidden = x.reshape(len(x), 5, 4) @ w
        return jax.vmap(centred_below)(hidden)[:, 2]

    check(predict, draw(0, 4, 3), draw(1, 3, 20))


@pytest.mark.slow
def test_a_differential_equation_inside():
    def predict(w, x):
        solve = lambda y0: diffrax.diffeqsolve(  # noqa: E731
            diffrax.ODETerm(lambda t, y, _: jnp.tanh(y @ w)), diffrax.Heun(),
            0.0, 1.0, 0.25, y0, adjoint=diffrax.DirectAdjoint(),
        ).ys[0]  # fmt: skip
        return jax.vmap(solve)(x)

    check(predict, draw(0, 3, 3), draw(1, 2, 3))
