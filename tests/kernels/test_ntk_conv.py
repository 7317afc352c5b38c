"""Oracle: explicit Jacobians contracted in NumPy float64 (oracles/jacobians.py).

Convolutions of every kind, with parameters that take the structured way and the way of
Jacobians formed from patches.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.jacobians import kernel_by_jacobians

from lazyrich import InputError
from lazyrich.kernels import explain_ntk, ntk
from lazyrich.kernels._ntk._plain_convolutions import with_plain_convolutions

# Rounding of float64 sums over a few thousand products of numbers of order one.
RTOL = 1e-11
IMAGES = ("NHWC", "HWIO", "NHWC")
PLANES = ("NCHW", "OIHW", "NCHW")


def draw(seed, *shape):
    size = np.sqrt(max(1, np.prod(shape[:-1])))
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) / size)


def check(predict, params, x, **options):
    traced = options.get("trace_outputs", False)
    expected = kernel_by_jacobians(predict, params, x, traced=traced)
    assert np.abs(expected).max() > 0
    kernel = ntk(predict, params, x, **options)
    np.testing.assert_allclose(kernel, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())


UPWARDS = {"lhs_dilation": (2, 2), "padding": ((2, 1), (1, 2))}
# name: (input, filter, dimension numbers, options)
KINDS = {
    "same": ((6, 5, 2), (3, 3, 2, 4), IMAGES, {}),
    "valid, channels first": ((2, 6, 5), (4, 2, 3, 2), PLANES, {"padding": "VALID"}),
    "strided": ((7, 6, 2), (3, 2, 2, 4), IMAGES, {"window_strides": (2, 3)}),
    "dilated": ((7, 7, 2), (3, 2, 2, 4), IMAGES, {"rhs_dilation": (2, 3)}),
    "transposed": ((4, 3, 2), (3, 3, 2, 4), IMAGES, UPWARDS),
    "cropped": ((6, 6, 2), (3, 3, 2, 4), IMAGES, {"padding": ((-1, 2), (0, -1))}),
    "grouped": ((5, 5, 4), (3, 3, 2, 6), IMAGES, {"feature_group_count": 2}),
    "depthwise": ((5, 5, 4), (3, 3, 1, 8), IMAGES, {"feature_group_count": 4}),
    "one place": ((4, 4, 3), (1, 1, 3, 5), IMAGES, {}),
    "one result": ((4, 4, 3), (2, 2, 3, 1), IMAGES, {}),
    "whole image": ((4, 4, 3), (4, 4, 3, 20), IMAGES, {"padding": "VALID"}),
    "large filter": ((18, 2), (70, 2, 4), ("NHC", "HIO", "NHC"), {}),
    "sequence": ((9, 3), (4, 3, 5), ("NHC", "HIO", "NHC"), {"window_strides": (2,)}),
    "volume": ((3, 4, 3, 2), (2, 2, 2, 2, 3), ("NDHWC", "DHWIO", "NDHWC"), {}),
    "other layouts": ((5, 2, 4), (3, 4, 2, 2), ("NHCW", "HOIW", "HNWC"), {}),
}  # fmt: skip


def network(name):
    """Convolution, bias, nonlinearity, average, read-out, on rows that are flat."""
    shape, filters, numbers, options = KINDS[name]
    options = {"window_strides": (1,) * (len(shape) - 1), "padding": "SAME"} | options
    feature = numbers[2].index("C")
    n_features = filters[numbers[1].index("O")]
    params = {"k": draw(0, *filters), "b": draw(1, n_features), "v": draw(2, n_features, 2)}
    places = tuple(k for k, letter in enumerate(numbers[2]) if letter not in "NC")
    along = [n_features if k == feature else 1 for k in range(len(numbers[2]))]

    def predict(p, x):
        images = x.reshape(len(x), *shape)
        hidden = jax.lax.conv_general_dilated(
            images, p["k"], dimension_numbers=numbers, **options
        ) + p["b"].reshape(along)
        hidden = jnp.tanh(hidden).mean(places)
        return (hidden if numbers[2].index("N") < feature else hidden.T) @ p["v"]

    return predict, params, draw(3, 4, int(np.prod(shape))) * 4


@pytest.mark.parametrize("name", KINDS)
def test_convolutions_of_every_kind(name):
    check(*network(name))


@pytest.mark.parametrize("late, margin", [(False, 0.0), (True, 0.0), (False, 1e9)])
def test_every_way_of_a_convolution(late, margin, monkeypatch, compiles_anew):
    from lazyrich.kernels._ntk import _contract, _planner

    # The margin forces Jacobians or factors; a Jacobian has its units in parts of one.
    monkeypatch.setattr(_planner, "_MARGIN", margin)
    monkeypatch.setattr(_contract, "_JACOBIAN_BYTES", 2**10)
    if late:
        monkeypatch.setattr(_planner, "_is_smaller", lambda *_: False)
    check(*network("same" if late else "grouped"), trace_outputs=not late, block_size=3)


def test_chunks_in_a_loop(monkeypatch, compiles_anew):
    from lazyrich.kernels._ntk import _blocking as blocks

    monkeypatch.setattr(blocks, "_WORK_BYTES", 2**10)
    check(*network("strided"))


def with_strides(strides, padding, numbers, **options):
    """The derivatives of a convolution: from x and filters (a tuple) to those of both."""

    def convolve(x, w):
        return jax.lax.conv_general_dilated(
            x, w, strides, padding, dimension_numbers=numbers, **options
        )

    return lambda x, w: jax.vjp(convolve, x, w)[1](jnp.cos(convolve(x, w)))


@pytest.mark.parametrize(
    ("strides", "size", "padding"),
    [((2, 2), (3, 3), ((1, 1), (1, 1))), ((3, 2), (2, 4), ((0, 2), (3, 1))),
     ((2, 3), (1, 2), ((0, 0), (2, 0)))],
)  # fmt: skip
def test_convolutions_in_one_form_are_the_same(strides, size, padding):
    for options in ({}, {"feature_group_count": 2}):
        groups = options.get("feature_group_count", 1)
        derivatives = with_strides(strides, padding, PLANES, **options)
        x, w = draw(0, 2, 4, 7, 8), draw(1, 6, 4 // groups, *size)
        for found, wanted in zip(
            with_plain_convolutions(derivatives, x, w), derivatives(x, w), strict=True
        ):
            np.testing.assert_allclose(found, wanted, rtol=RTOL, atol=RTOL)


@pytest.mark.parametrize("n_features", [1, 6, 15, 16])
@pytest.mark.parametrize(
    ("width", "size", "padding", "stride"),
    [(1, 1, (0, 0), 1), (2, 2, (0, 0), 1), (9, 3, (1, 1), 1), (9, 4, (3, 0), 1),
     (9, 3, (-2, -3), 1), (9, 3, (1, 1), 2)],
)  # fmt: skip
def test_neighbours_at_once_are_those_one_by_one(n_features, width, size, padding, stride):
    def convolve(x, w):
        options = {"padding": ((1, 0), padding), "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        return jax.lax.conv_general_dilated(x, w, (2, stride), **options)

    x, w = draw(0, 2, 5, width, 2), draw(1, 2, size, 2, n_features)
    wanted = convolve(x, w)
    found = with_plain_convolutions(convolve, x, w)
    np.testing.assert_allclose(found, wanted, rtol=RTOL, atol=RTOL)
    convolutions = str(jax.make_jaxpr(lambda x, w: with_plain_convolutions(convolve, x, w))(x, w))
    is_widened = "pad" in convolutions.split("conv_general_dilated")[0]
    assert is_widened == (n_features < 16 and stride == 1 and size > 1 and wanted.shape[2] > 1)


def conv(x, kernel, stride=1):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=IMAGES
    )


@pytest.mark.parametrize("traced", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_residual_network(traced):
    shapes = {"first": (3, 3, 3, 4), "same": (3, 3, 4, 4), "down": (3, 3, 4, 6)}
    shapes |= {"skip": (1, 1, 4, 6), "b": (4,), "out": (6, 5)}
    params = {name: draw(k, *shape) for k, (name, shape) in enumerate(shapes.items())}

    def predict(p, x):
        x = jax.nn.relu(conv(x.reshape(-1, 6, 6, 3), p["first"]))
        x = x + conv(jax.nn.relu(conv(x, p["same"]) + p["b"]), p["same"])
        x = jax.nn.relu(conv(x, p["down"], 2) + conv(x, p["skip"], 2))
        return x.mean((1, 2)) @ p["out"]

    check(predict, params, draw(9, 3, 108), trace_outputs=traced)


def test_few_positions_are_contracted_and_many_form_jacobians():
    def predict(p, x):
        hidden = jax.nn.relu(conv(x.reshape(-1, 16, 16, 3), p["early"]))
        hidden = hidden.reshape(-1, 2, 8, 2, 8, 4).mean((2, 4))
        return jax.nn.relu(conv(hidden, p["late"])).mean((1, 2))[:, :2]

    params = {"early": jnp.ones((3, 3, 3, 4)), "late": jnp.ones((3, 3, 4, 64))}
    ways = explain_ntk(predict, params, jnp.ones((1, 768)), trace_outputs=True)
    assert ways["['early']"].kind == "jacobian"
    assert ways["['late']"].kind == "contraction"


def window(kind, size, strides, padding, **options):
    largest = kind == "max"
    operation = jax.lax.max if largest else jax.lax.add
    start = -jnp.inf if largest else 0.0
    return lambda x: jax.lax.reduce_window(
        x, start, operation, (1, *size, 1), (1, *strides, 1), padding, **options
    )


POOLS = {
    "apart": window("max", (2, 2), (2, 2), "VALID"),
    "apart, uneven": window("max", (4, 3), (4, 3), "VALID"),
    "apart, padded": window("max", (4, 4), (4, 4), "SAME"),
    "overlapping": window("max", (3, 3), (2, 2), "SAME"),
    "spread": window("max", (3, 3), (2, 2), "SAME", base_dilation=(1, 2, 2, 1)),
    "mean": window("sum", (3, 2), (3, 2), "VALID"),
    "overlapping mean": window("sum", (3, 3), (2, 2), "SAME"),
}


QUICK = {"apart, uneven", "overlapping", "mean"}


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in POOLS]
)
def test_pooling_of_every_kind_with_equal_values(name):
    """Of equal values in a window the first has the derivative."""
    params = {"w": jnp.asarray([[1.0, -1.0, 1.0], [0.0, 1.0, 1.0]])[None, None], "v": draw(1, 3, 2)}

    def predict(p, x):
        return (POOLS[name](conv(x.reshape(-1, 7, 6, 2), p["w"])) ** 2).mean((1, 2)) @ p["v"]

    x = jnp.asarray(np.random.default_rng(2).integers(-1, 2, (3, 84)), float)
    check(predict, params, x)


def test_a_maximum_of_what_is_no_number_is_none(unchecked):
    def predict(p, x):
        return POOLS["apart"](x.reshape(-1, 2, 2, 1) * p).sum((1, 2))

    x = jnp.ones((4, 4)).at[jnp.arange(4), jnp.arange(4)].set(jnp.nan)
    with pytest.raises(InputError, match="begin in 4 of 4 rows"):
        ntk(predict, jnp.ones(()), x)


@pytest.mark.parametrize(
    ("numbers", "axes"),
    [(("NHWC", "HWIO", "NHWC"), (1, 2)), (("NCHW", "OIHW", "NHWC"), (1, 2)),
     (("NHWC", "HOWI", "CNHW"), (2, 3))],
)  # fmt: skip
def test_filters_of_one_place_are_matrix_products(numbers, axes):
    sizes = {"I": 3, "O": 5, "H": 1, "W": 1}
    filters = draw(0, *(sizes[letter] for letter in numbers[1]))
    shape = [{"N": -1, "C": 3, "H": 4, "W": 5}[letter] for letter in numbers[0]]

    def predict(w, x):
        hidden = jax.lax.conv_general_dilated(
            x.reshape(shape), w, (2, 1), "VALID", dimension_numbers=numbers
        )
        hidden = jnp.tanh(hidden).mean(axes)
        return hidden if numbers[2][0] == "N" else hidden.T

    check(predict, filters, draw(1, 3, 60))


@pytest.mark.parametrize("padding", ["VALID", ((-1, -1), (-1, -1))])
@pytest.mark.parametrize("dilation", [(1, 1), (3, 3)])
def test_filters_longer_than_the_image_have_no_gradient(padding, dilation):
    """Nothing of such a convolution is left, whose sum is zero, beside a linear part."""

    def predict(params, x):
        y = jax.lax.conv_general_dilated(
            x, params["filters"], (1, 1), padding, rhs_dilation=dilation, dimension_numbers=IMAGES
        )
        assert 0 in y.shape
        return y.sum((1, 2)) + x.mean((1, 2)) @ params["linear"]

    params = {"filters": draw(0, 5, 5, 2, 3), "linear": draw(1, 2, 3)}
    x = draw(2, 4, 3, 3, 2)
    check(predict, params, x)
    check(predict, params, x, trace_outputs=True)
    assert "filters" in str(explain_ntk(predict, params, x))
