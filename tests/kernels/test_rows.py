"""Oracle: whole-batch Jacobians, which show whether a row's output depends on another row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.row_programs import centred_cotangent, centred_tangent

from lazyrich._base import InputError
from lazyrich.kernels import check_predictor, ntk, ntk_operator
from lazyrich.kernels._predictor_call import predictor_call

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(4, 3)))
W = jnp.asarray(RNG.normal(size=(3, 2)))


def hidden_by_while(z):
    return jax.lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, s[1] + z.mean(0)), (0, z))[1]


def running_mean(z):
    def turn(total, row):
        return total + row, total + row

    return jax.lax.scan(turn, jnp.zeros(z.shape[1]), z)[1]


MIXING = {
    "cumsum": lambda w, x: jnp.cumsum(x @ w, 0),
    "mean": lambda w, x: (x - x.mean(0)) @ w,
    "batch norm without epsilon": lambda w, x: (lambda z: (z - z.mean(0)) / z.std(0))(x @ w),
    "sorted": lambda w, x: jnp.sort(x @ w, 0),
    "softmax over rows": lambda w, x: jax.nn.softmax(x @ w, 0),
    "maximum": lambda w, x: x @ w - (x @ w).max(0),
    "next row": lambda w, x: jnp.roll(x, 1, 0) @ w,
    "reversed": lambda w, x: x[::-1] @ w,
    "first row": lambda w, x: x @ w + x[0] @ w,
    "Gram matrix": lambda w, x: (x @ x.T) @ (x @ w),
    "norm of all": lambda w, x: x @ w / jnp.linalg.norm(x),
    "scan": lambda w, x: running_mean(x @ w),
    "while": lambda w, x: hidden_by_while(x) @ w,
    "cond on all": lambda w, x: jax.lax.cond(x.sum() > 0, lambda: x @ w, lambda: 2 * (x @ w)),
    "wrong reshape": lambda w, x: x.T.reshape(x.shape) @ w,
    "convolution": lambda w, x: jnp.apply_along_axis(
        lambda c: jnp.convolve(c, jnp.ones(3))[1:-1], 0, x
    ) @ w,
    "inside jit": lambda w, x: jax.jit(lambda z: z - z.mean(0))(x @ w),
    "gather": lambda w, x: (x @ w)[jnp.argsort(x[:, 0])],
    "a rule for tangents": lambda w, x: centred_tangent(x @ w),
    "a rule for cotangents": lambda w, x: centred_cotangent(x @ w),
    "number of rows": lambda w, x: x @ w / len(x),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXING)
def test_rows_that_mix_are_refused(name):
    with pytest.raises(InputError, match="its own row alone"):
        ntk(MIXING[name], W, X)


@pytest.mark.parametrize("ask", [check_predictor, ntk_operator, ntk])
@pytest.mark.parametrize("x", [X, jnp.asarray([[1.0, 2, 3], [4, 5, 6], [1, 2, 3]])])
def test_every_way_of_asking_sees_the_mean(ask, x):
    with pytest.raises(InputError, match="mixes the rows"):
        ask(MIXING["mean"], W, x)


def test_mixed_integer_rows_are_refused():
    table = jnp.asarray(RNG.normal(size=(7, 2)))
    tokens = jnp.asarray(RNG.integers(0, 7, (5, 3)))
    for mix in (lambda t: t + t.max(0), lambda t: jnp.sort(t, 0), lambda t: t[::-1]):
        with pytest.raises(InputError, match="mixes the rows"):
            ntk(lambda p, t: p[mix(t) % 7].sum(1), table, tokens)  # noqa: B023


def test_under_jit_a_mixed_kernel_is_nan_and_never_a_number():
    kernel = jax.jit(lambda w, x: ntk(MIXING["mean"], w, x))(W, X)
    assert np.isnan(kernel).all()
    product = jax.jit(lambda w, x: ntk_operator(MIXING["cumsum"], w, x)(jnp.ones((4, 2))))(W, X)
    assert np.isnan(product).all()


def counted(x):
    return jnp.arange(len(x))[:, None]


def numbered_by_scan(z):
    return jax.lax.scan(lambda k, row: (k + 1.0, k * row), 0.0, z)[1]


def by_number(x, many, one):
    """Another thing for one row than for more than three."""
    return many if len(x) > 3 else one


def called_back(x):
    number = np.float32(len(x))
    return jax.pure_callback(lambda: number, jax.ShapeDtypeStruct((), np.float32))


def with_ones(z):
    return jnp.concatenate([z, jnp.ones((len(z), len(z)))], 1)


@jax.custom_jvp
def scaled_rule(z):
    return z


scaled_rule.defjvp(lambda p, t: (p[0], t[0] * len(p[0])))


@jax.custom_jvp
def summing_rule(z):
    return z


summing_rule.defjvp(lambda p, t: (p[0], t[0] * jnp.ones(len(p[0])).sum()))


def by_place(z):
    """The constants 0 and 1 in turn, laid out anew, which only reshapes and transposes."""
    return z * jnp.broadcast_to(jnp.arange(2.0), (len(z), 2)).reshape(2, len(z)).T


def with_width(z, width):
    """A product with ones of that width, whose length could be taken for a number of rows."""
    return z @ jnp.ones((z.shape[1], width)) @ jnp.ones((width, 2))


# Each row of the output depends on its own row alone, but rows are different functions.
UNEVEN = {
    "counted": lambda w, x: counted(x) * (x @ w),
    "first row": lambda w, x: (x @ w).at[0].multiply(3.0),
    "last row": lambda w, x: (x @ w).at[-1].set(0.0),
    "written slice": lambda w, x: jax.lax.dynamic_update_slice(x @ w, jnp.zeros((1, 2)), (0, 0)),
    "joined pieces": lambda w, x: (lambda z: jnp.concatenate([2 * z[:1], z[1:]]))(x @ w),
    "joined constants": lambda w, x: (
        jnp.concatenate([jnp.zeros((1, 2)), jnp.ones((len(x) - 1, 2))]) * (x @ w)
    ),
    "padded": lambda w, x: jnp.pad(jnp.ones((len(x) - 1, 2)), ((1, 0), (0, 0))) * (x @ w),
    "sum of ones": lambda w, x: jnp.ones(len(x)).sum() * (x @ w),
    "sums of ones": lambda w, x: jnp.cumsum(jnp.ones((len(x), 1)), 0) * (x @ w),
    "order of equals": lambda w, x: jnp.argsort(jnp.zeros(len(x)))[:, None] * (x @ w),
    "transform of ones": lambda w, x: jnp.fft.fft(jnp.ones(len(x))).real[:, None] * (x @ w),
    "repeated": lambda w, x: x * jnp.repeat(w[:, 0], len(x)).reshape(x.shape),
    "scan with a count": lambda w, x: numbered_by_scan(x @ w),
    "power": lambda w, x: (x @ w) ** len(x),
    "turns of a loop": lambda w, x: jax.lax.fori_loop(0, len(x), lambda _, z: 2 * z, x @ w),
    "one row otherwise": lambda w, x: x @ w if len(x) == 1 else jnp.sin(x @ w),
    "sum of twice as many ones": lambda w, x: jnp.ones(2 * len(x)).sum() * (x @ w),
    "sum of one more": lambda w, x: jnp.ones(len(x) + 1).sum() * (x @ w),
    "sum of squares": lambda w, x: jnp.ones((len(x), len(x) + 1)).sum() * (x @ w),
    "product of one more": lambda w, x: (lambda a: a @ a)(jnp.ones(len(x) + 1)) * (x @ w),
    "count to one more": lambda w, x: jnp.arange(len(x) + 1).max() * (x @ w),
    "as many ones as entries": lambda w, x: jnp.ones(x.size).sum() * (x @ w),
    "one more turn": lambda w, x: jax.lax.scan(
        lambda z, _: (1.1 * z, None), x @ w, None, len(x) + 1
    )[0],
    "ones beside the rows": lambda w, x: (
        jnp.concatenate([jnp.ones(3), jnp.zeros(len(x))]).mean() * (x @ w)
    ),
    "cut to the same length": lambda w, x: jnp.ones((len(x), 8))[1:].sum() * (x @ w),
    "reshaped": lambda w, x: (
        jnp.broadcast_to(jnp.arange(2.0), (len(x), 2)).reshape(2, -1)[:, :1].T * (x @ w)
    ),
    "odd or even": lambda w, x: jnp.ones(3 + len(x) % 2).sum() * (x @ w),
    "choice by the number": lambda w, x: jnp.where(len(x) > 3, 2 * x, x) @ w,
    "numbers exchanged": lambda w, x: (
        by_number(x, 2.5, 3.5) * jnp.tanh(x @ w) + by_number(x, 3.5, 2.5) * jnp.sin(x @ w)
    ),
    "constants exchanged": lambda w, x: (
        jnp.full((len(x), 2), by_number(x, 2.0, 3.0)) * jnp.tanh(x @ w)
        + jnp.full((len(x), 2), by_number(x, 3.0, 2.0)) * jnp.sin(x @ w)
    ),
    "ones beside the features": lambda w, x: with_ones(x @ w).sum(1),
    "ones before the features": lambda w, x: with_ones(x @ w)[:, ::-1][:, 1:3],
    "sorted with ones": lambda w, x: jnp.sort(with_ones(x @ w), 1)[:, -3:],
    "largest with ones": lambda w, x: jax.lax.top_k(with_ones(x @ w), 3)[0],
    "padded by the number": lambda w, x: jnp.pad(
        x @ w, ((0, 0), (0, len(x))), constant_values=1.0
    ).sum(1),
    "summed as often": lambda w, x: ((x @ w)[:, :, None] * jnp.ones(len(x))).sum(2),
    "repeated as often": lambda w, x: jnp.repeat(x @ w, len(x), 1).sum(1),
    "products as often": lambda w, x: (
        (x @ w)[:, :, None] @ jnp.ones((1, len(x))) @ jnp.ones(len(x))
    ),
    "window as wide": lambda w, x: jax.vmap(lambda row: jnp.convolve(row, jnp.ones(len(x))))(
        x @ w
    )[:, 1:2],
    "direction": lambda w, x: jax.lax.cumsum(x @ w, 1, reverse=len(x) > 3),
    "column": lambda w, x: (x @ w)[:, by_number(x, 1, 0)],
    "rule for tangents": lambda w, x: scaled_rule(x @ w),
    **{
        f"{name}, width {width}": lambda w, x, f=f, width=width: f(with_width(x @ w, width))
        for width in range(2, 9)
        for name, f in {
            "rule that sums": summing_rule,
            "by place": by_place,
            "transposed": lambda z: z * (jnp.ones((len(z), 2)).T @ jnp.ones(len(z))),
            "sum beside another": lambda z, n=width: (
                z * (jnp.ones(n).sum() + jnp.ones(len(z)).sum())
            ),
        }.items()
    },
    "transposed by the number": lambda w, x: (
        x @ jnp.stack([w.T, 2 * w.T]).transpose(by_number(x, (0, 2, 1), (1, 2, 0)))[0, :, :2]
    ),
    "laid out by the number": lambda w, x: (
        x @ jax.lax.broadcast_in_dim(w[:, 0], (3, 3), (by_number(x, 0, 1),))
    ),
    "rows transposed by the number": lambda w, x: jnp.transpose(
        (x @ w)[:, :, None] * jnp.arange(2.0), by_number(x, (0, 2, 1), (0, 1, 2))
    )[:, 0],
    "value of a callback": lambda w, x: called_back(x) * (x @ w),
    "rounded": lambda w, x: (x @ w).astype(by_number(x, jnp.bfloat16, jnp.float16)) + x @ w,
}  # fmt: skip


@pytest.mark.parametrize("name", UNEVEN)
def test_rows_that_are_different_functions_are_not_taken_for_one(name):
    assert not predictor_call(UNEVEN[name], W, X).is_row_wise()


@pytest.mark.parametrize("name", ["counted", "first row", "power", "value of a callback"])
def test_rows_that_are_different_functions_are_refused(name):
    with pytest.raises(InputError, match="place of the row"):
        ntk(UNEVEN[name], W, X)


def loop_over_rows(w, x):
    def turn(k, filled):
        return filled.at[k].set(x[k] @ w)

    return jax.lax.fori_loop(0, len(x), turn, jnp.zeros((len(x), 2)))


def until_small(row):
    return jax.lax.while_loop(lambda r: (r**2).sum() > 1, lambda r: r / 2, row)


def gated(w, x):
    """A gated recurrent network, whose state does not depend on the rows at first."""
    u = jnp.eye(3, 6) + 0.1

    def turn(h, item):
        a, b = jnp.split((item[:, None] * w[0, 0] + h) @ u, 2, -1)
        return jnp.tanh(a + w[1, 1]) * h + jax.nn.sigmoid(b) * w[2, 0], None

    return jax.lax.scan(turn, jnp.zeros((len(x), 3)), x.T)[0]


def normalised_state(w, x):
    """The state is normalised, joined with the input, cut and reshaped, from zeros on."""

    def turn(h, item):
        h = (h - h.mean(1, keepdims=True)) / jnp.sqrt(1 + jnp.square(h).sum(1, keepdims=True))
        h = jnp.concatenate([h, 0 * h], 1).reshape(-1, 2, 2)[:, 0] + jnp.sort(h, 1)
        return h + jnp.tanh(item[:, None] * w[0]), None

    return jax.lax.scan(turn, jnp.zeros((len(x), 2)), x.T)[0]


ROW_WISE = {
    "gated recurrent": (gated, True),
    "normalised state": (normalised_state, True),
    "vmap": (lambda w, x: jax.vmap(lambda row: row @ w)(x), True),
    "lax.map": (lambda w, x: jax.lax.map(lambda row: row @ w, x), True),
    "scan over rows": (lambda w, x: jax.lax.scan(lambda s, r: (s, r @ w), 0, x)[1], True),
    "softmax": (lambda w, x: jax.nn.softmax(x @ w), True),
    "layer norm": (
        lambda w, x: (lambda z: (z - z.mean(1, keepdims=True)) / z.std(1, keepdims=True))(x @ w),
        True,
    ),
    "cumsum along features": (lambda w, x: jnp.cumsum(x @ w, 1), True),
    "sorted features": (lambda w, x: jnp.sort(x @ w, 1), True),
    "merged rows": (
        lambda w, x: jnp.tanh(x.reshape(-1, 1) @ w[:1]).reshape(len(x), 3, 2).mean(1),
        True,
    ),
    "one-hot": (
        lambda w, x: jax.nn.one_hot((x[:, 0] > 0).astype(int), 3, dtype=x.dtype) @ w + x @ w,
        True,
    ),
    "set features": (lambda w, x: x.at[:, 0].set(0.0) @ w, True),
    "own column": (lambda w, x: jnp.take_along_axis(x @ w, (x[:, :1] > 0) * 1, 1), True),
    "cond under vmap": (
        lambda w, x: jax.vmap(lambda r: jax.lax.cond(r[0] > 0, lambda: r @ w, lambda: r @ w * 2))(
            x
        ),
        True,
    ),
    "picked by number": (lambda w, x: (x @ w)[jnp.arange(len(x)), (x[:, 0] > 0) * 1], False),
    "loop that writes rows": (loop_over_rows, False),
    "while under vmap": (lambda w, x: jax.vmap(until_small)(x) @ w, False),
    "mean taken away and added": (lambda w, x: (x - 0 * x.mean(0)) @ w, False),
}


@pytest.mark.parametrize("name", ROW_WISE)
def test_independent_rows_are_not_refused(name):
    predict, is_shown = ROW_WISE[name]
    assert predictor_call(predict, W, X).is_row_wise() == is_shown
    jacobian = np.asarray(jax.jacrev(predict)(W, X)).reshape(4, -1, W.size)
    wanted = np.einsum("iap,jbp->ijab", jacobian, jacobian)
    kernel = np.asarray(ntk(predict, W, X))
    np.testing.assert_allclose(kernel.reshape(wanted.shape), wanted, rtol=1e-10, atol=1e-12)


def test_permuted_rows_permute_the_kernel():
    order = np.asarray([2, 0, 3, 1])

    def predict(w, x):
        return jnp.tanh(x @ w)

    kernel = np.asarray(ntk(predict, W, X))
    permuted = ntk(predict, W, X[order])
    np.testing.assert_allclose(permuted, kernel[order][:, order], rtol=1e-12)


def test_captured_arrays_leave_nothing_to_be_tried_under_jit():
    x, shown = jnp.ones((4, 3)), []

    def ask(p):
        call = predictor_call(lambda p, x: jnp.sinh(x * np.array([1.0, 0.0, 2.0])) @ p, p, x)
        shown.append(call.is_row_wise())
        return p

    jax.make_jaxpr(ask)(jnp.ones(3))
    assert shown == [True]


@pytest.mark.parametrize("first", [lambda n: 0, lambda n: 1, lambda n: n // 2])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_rows_may_be_taken_apart_if_all_are_treated_alike(first, factor):
    """Alone, a row leaves one of the parts without any row."""
    x = jax.random.normal(jax.random.key(0), (6, 3))
    w = jax.random.normal(jax.random.key(1), (3, 4))

    def predict(w, x):
        k = first(len(x))
        return jnp.concatenate([x[:k] @ w, factor * x[k:] @ w]).sum(1)

    if factor == 1.0 or first(6) == 0:
        exact = factor**2 * 4 * x @ x.T
        np.testing.assert_allclose(ntk(predict, w, x), exact, rtol=1e-6, atol=1e-6)
    else:
        with pytest.raises(InputError, match="for a row by itself"):
            ntk(predict, w, x)
