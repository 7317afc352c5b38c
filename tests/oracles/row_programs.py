"""Random programs of rows: compositions of operations of every kind, most of which mix rows.

A program is drawn from a seed alone, so that the same choices are made for any number of rows.
"""

# ruff: noqa: E501

import random
from contextlib import suppress

import jax
import jax.numpy as jnp
import numpy as np

N_FEATURES = 3
MOST_ENTRIES = 3000


@jax.custom_jvp
def centred_tangent(z):
    return z


centred_tangent.defjvp(lambda p, t: (p[0], t[0] - t[0].mean(0)))


@jax.custom_vjp
def centred_cotangent(z):
    return z


centred_cotangent.defvjp(lambda z: (z, None), lambda _, g: (g - g.mean(0),))


@jax.custom_jvp
def own_tangent(z):
    return jnp.tanh(z)


own_tangent.defjvp(lambda p, t: (jnp.tanh(p[0]), 2 * t[0] * (p[0] > 0)))


class Draw:
    """Choices that depend on the seed and on ranks, and not on lengths."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def axis(self, v):
        """Mostly another one than the first, along which rows lie at first."""
        k = self.random.random()
        if v.ndim < 2 or k < 0.1:
            return 0
        return 1 + int((k - 0.1) / 0.9 * (v.ndim - 1))

    def one(self, options):
        return options[int(self.random.random() * len(options))]


def at(axis, cut):
    return (slice(None),) * axis + (cut,)


def integers(v, below):
    return (jnp.abs(v.real) * 7).astype(int) % max(below, 1)


# --- entry by entry, and new arrays ----------------------------------------------------


def entrywise(d, v, n, x):
    one = [jnp.tanh, jnp.sin, jnp.abs, jnp.square, jax.nn.relu, own_tangent, centred_tangent]
    one += [centred_cotangent, jax.nn.silu, jnp.sign, lambda v: v * n, lambda v: v / len(v)]
    one += [lambda v: jnp.clip(v, -1, v[:1]), lambda v: jnp.where(v > 0, v, -2 * v)]
    one += [lambda v: jnp.where(v > v[:1], v, 0), lambda v: jax.lax.reduce_precision(v, 8, 7)]
    one += [lambda v: jax.lax.select_n(v > 0, v, 3 * v), lambda v: jax.checkpoint(jnp.cos)(v)]
    one += [lambda v: (v > 0).astype(float), lambda v: jax.lax.optimization_barrier(v)]
    one += [lambda v: jnp.exp(1j * v).real, lambda v: jax.jit(lambda a: a * 2)(v)]
    return d.one(one)(v)


def counted(d, v, n, x):
    """Arrays whose lengths or entries come from a length."""
    length = d.one([n, n + 1, 2 * n, v.shape[d.axis(v)], v.size, n * n, 3, n % 2 + 1])
    made = d.one(
        [
            jnp.ones, jnp.zeros, jnp.arange, lambda k: jnp.linspace(0, 1, k),
            lambda k: jnp.eye(k), lambda k: jnp.tri(k), lambda k: jnp.ones((k, 2)),
            lambda k: jnp.full(k, k), lambda k: jnp.asarray(np.arange(k)),
            lambda k: jax.random.normal(jax.random.key(0), (k,)),
            lambda k: jax.lax.iota(float, k), lambda k: jnp.ones(()), lambda k: jnp.hanning(k),
        ]
    )(length) * 1.0  # fmt: skip
    if d.random.random() < 0.3:
        return made
    axis = d.axis(v)
    if made.ndim == 1 and made.shape[0] == v.shape[axis]:
        return v * made.reshape([-1 if a == axis else 1 for a in range(v.ndim)])
    return v * made.mean()


# --- entries moved ---------------------------------------------------------------------


def moved(d, v, n, x):
    a, b = d.axis(v), d.axis(v)
    one = [lambda: jnp.swapaxes(v, a, b), lambda: jnp.moveaxis(v, a, 0), lambda: v.T]
    one += [lambda: v.reshape(-1), lambda: v.reshape(n, -1), lambda: v.reshape(-1, n)]
    one += [lambda: v.reshape(len(v), -1), lambda: v.reshape(v.shape[::-1])]
    one += [lambda: v.reshape(-1, v.shape[-1]), lambda: v.T.reshape(v.shape), lambda: v[None]]
    one += [lambda: v[:, None], lambda: v[..., None], lambda: jnp.flip(v, a), lambda: v.ravel("F")]
    one += [lambda: jnp.roll(v, 1, a), lambda: jnp.roll(v, v.shape[a], a), lambda: jnp.roll(v, 1)]
    one += [lambda: jnp.repeat(v, 2, a), lambda: jnp.tile(v, 2), lambda: v.squeeze()]
    one += [lambda: jnp.rot90(v), lambda: jnp.repeat(v, 2, 0).reshape(len(v), 2, -1)[:, 0]]
    one += [lambda: v.reshape(len(v), -1, 1), lambda: v.reshape(2, -1), lambda: v.reshape(-1, 2)]
    one += [lambda: jax.lax.reshape(v, v.shape[::-1], tuple(range(v.ndim))[::-1])]
    return d.one(one)()


def cut(d, v, n, x):
    a = d.axis(v)
    half = v.shape[a] // 2
    one = [slice(1), slice(1, None), slice(None, -1), slice(None, None, 2), slice(-1, None)]
    one += [slice(half), slice(half, None), 0, -1, slice(None, None, -1), slice(n), slice(1, 3)]
    k = d.one(one)
    how = d.random.random()
    if how < 0.5:
        return v[at(a, k)]
    if how < 0.75 and isinstance(k, slice):
        return jnp.concatenate([v[at(a, k)], v[at(a, slice(k.stop, None))]], a)
    return jnp.split(v, [1], a)[d.one([0, 1])]


def joined(d, v, n, x):
    a = d.axis(v)
    one = [lambda: [v, v], lambda: [v, 2 * v[at(a, slice(1))]], lambda: [jnp.zeros_like(v), v]]
    one += [lambda: [v[at(a, slice(1))], jnp.sin(v[at(a, slice(1, None))])]]
    one += [lambda: [v, jnp.ones((*v.shape[:a], n, *v.shape[a + 1 :]))]]
    one += [lambda: [v[at(a, slice(1, None))], v[at(a, slice(1))]]]
    made = jnp.concatenate(d.one(one)(), a)
    return d.one(
        [lambda: made, lambda: made[at(a, slice(v.shape[a]))], lambda: jnp.stack([v, v], a)]
    )()


def padded(d, v, n, x):
    a = d.axis(v)
    config = [(0, 0, 0)] * v.ndim
    config[a] = d.one(
        [(1, 0, 0), (0, 1, 0), (1, -1, 0), (-1, 1, 0), (0, 0, 1), (1, 1, 1), (-1, 0, 1), (n, 0, 0)]
    )
    made = jax.lax.pad(v, d.one([jnp.zeros((), v.dtype), v.sum(), v.reshape(-1)[0]]), config)
    return d.one(
        [
            lambda: made,
            lambda: made[at(a, slice(v.shape[a]))],
            lambda: made[at(a, slice(-v.shape[a], None))],
        ]
    )()


def looked_up(d, v, n, x):
    a = d.axis(v)
    length = v.shape[a]
    index = d.one(
        [
            lambda: jnp.arange(length), lambda: jnp.arange(n), lambda: jnp.array([0, 0]),
            lambda: jnp.zeros(length, int), lambda: jnp.arange(length)[::-1],
            lambda: integers(v.reshape(-1)[:length], length), lambda: jnp.array([-1, 0, 1]),
            lambda: integers(x[:, 0], length), lambda: jnp.argsort(v.sum(tuple(k for k in range(v.ndim) if k != a))),
            lambda: np.arange(length) % 2, lambda: integers(x[:, :2], length),
        ]
    )()  # fmt: skip
    one = [lambda: jnp.take(v, index, a), lambda: v[at(a, index)]]
    one += [lambda: jnp.take_along_axis(v, integers(v, length), a)]
    one += [lambda: jnp.take_along_axis(v, jnp.argsort(v, a), a)]
    one += [lambda: jax.vmap(lambda r, k: jnp.take(r, k, 0))(v, jnp.arange(len(v)))]
    one += [lambda: jax.vmap(lambda r, k: jnp.take(r, k, 0))(v, integers(x[:, 0], 2))]
    one += [lambda: jax.vmap(lambda r: r[jnp.argmax(r)], a, a)(v)]
    one += [
        lambda: jax.vmap(lambda r, k: jax.lax.dynamic_slice_in_dim(r, k, 1, 0))(
            v, integers(x[:, 0], 3)
        )
    ]
    one += [lambda: jax.lax.dynamic_slice_in_dim(v, integers(v.sum(), 3), max(length - 1, 1), a)]
    one += [lambda: jax.lax.dynamic_slice_in_dim(v, 0, length, a)]
    one += [lambda: jax.lax.dynamic_index_in_dim(v, integers(v.sum(), 3), a)]
    one += [lambda: v[jnp.arange(len(v)), integers(x[:, 0], 2)]]
    return d.one(one)()


def written(d, v, n, x):
    a = d.axis(v)
    length = v.shape[a]
    index = d.one(
        [
            lambda: jnp.arange(length), lambda: 0, lambda: -1, lambda: jnp.array([0, 1]),
            lambda: integers(x[:, 0], length)[:length], lambda: slice(1), lambda: slice(None),
            lambda: slice(1, None), lambda: jnp.arange(length)[::-1], lambda: v.reshape(-1)[:length] > 0,
        ]
    )()  # fmt: skip
    value = d.one(
        [lambda: 1.0, lambda: v.sum(), lambda: v[at(a, slice(1))].mean(), lambda: x[0, 0]]
    )()
    how = d.one(["set", "add", "multiply", "max", "min"])
    one = [lambda: getattr(v.at[at(a, index)], how)(value)]
    one += [lambda: jax.lax.dynamic_update_slice_in_dim(v, v[at(a, slice(1))], 0, a)]
    one += [lambda: jax.lax.dynamic_update_slice_in_dim(v, 2 * v, 0, a)]
    one += [
        lambda: jax.lax.dynamic_update_slice_in_dim(v, v[at(a, slice(1))], integers(v.sum(), 2), a)
    ]
    one += [lambda: jax.vmap(lambda r: r.at[0].set(1.0), a, a)(v)]
    one += [lambda: jax.vmap(lambda r, k: r.at[k].add(1.0))(v, integers(x[:, 0], 2))]
    one += [lambda: jnp.zeros_like(v).at[at(a, index)].add(v)]
    one += [lambda: jax.ops.segment_sum(v, jnp.arange(len(v)) // 2, len(v))]
    one += [lambda: jax.ops.segment_sum(v, jnp.arange(len(v)), len(v))]
    one += [lambda: jax.ops.segment_max(v, integers(v[:, 0], 2), 2)]
    one += [lambda: jax.vmap(lambda r: jax.ops.segment_sum(r, jnp.arange(len(r)) % 2, 2))(v)]
    return d.one(one)()


# --- entries joined --------------------------------------------------------------------


def reduced(d, v, n, x):
    a, b = d.axis(v), d.axis(v)
    axes = d.one([a, a, a, tuple({a, b}), None])
    keep = d.one([True, False, True])
    how = d.one([jnp.sum, jnp.mean, jnp.max, jnp.min, jnp.prod, jnp.var, jax.nn.logsumexp, jnp.any])
    made = how(v, axis=axes, keepdims=keep) * 1.0
    return d.one([lambda: made, lambda: v - made if keep else made, lambda: v * made.mean()])()


def along(d, v, n, x):
    a = d.axis(v)
    one = [jnp.cumsum, jnp.cumprod, jnp.sort, jax.nn.softmax, jax.nn.log_softmax]
    one += [
        lambda v, axis: jnp.argsort(v, axis) * v,
        lambda v, axis: jnp.fft.fft(v, axis=axis).real,
    ]
    one += [lambda v, axis: jnp.diff(v, axis=axis), lambda v, axis: jnp.gradient(v, axis=axis)]
    one += [
        lambda v, axis: jax.lax.cummax(v, axis),
        lambda v, axis: jax.lax.cumsum(v, axis, reverse=True),
    ]
    one += [lambda v, axis: jnp.argmax(v, axis, keepdims=True) + v]
    one += [lambda v, axis: jnp.median(v, axis, keepdims=True) * v]
    one += [lambda v, axis: jax.lax.top_k(v, min(2, v.shape[-1]))[0]]
    one += [
        lambda v, axis: jax.nn.standardize(v, axis),
        lambda v, axis: jnp.trapezoid(v, axis=axis),
    ]
    one += [lambda v, axis: jax.lax.associative_scan(jnp.add, v, axis=axis)]
    one += [lambda v, axis: jax.lax.sort((v, 2 * v), dimension=axis, num_keys=1)[1]]
    one += [lambda v, axis: jnp.fft.fftn(v).real, lambda v, axis: jnp.fft.rfft(v, axis=axis).imag]
    one += [
        lambda v, axis: jnp.partition(v, 0, axis=axis),
        lambda v, axis: jnp.unwrap(v, axis=axis),
    ]
    return d.one(one)(v, axis=a)


def contracted(d, v, n, x):
    a = d.axis(v)
    length = v.shape[a]
    flat = v.reshape(len(v), -1)
    one = [lambda: jnp.tensordot(v, jnp.ones((length, 2)), (a, 0))]
    one += [lambda: jnp.tensordot(jnp.eye(length), v, (1, a)), lambda: flat @ flat.T]
    one += [lambda: flat.T @ flat, lambda: jnp.einsum("ij,ik->ijk", flat, flat)]
    one += [lambda: jnp.einsum("ij,kj->ik", flat, flat), lambda: jnp.einsum("ij,ij->i", flat, flat)]
    one += [lambda: jnp.einsum("ij,ij->j", flat, flat), lambda: jnp.triu(jnp.ones((n, n))) @ x]
    one += [lambda: jnp.einsum("ij,kj->ikj", flat, flat), lambda: jnp.eye(len(v)) @ flat]
    one += [
        lambda: jnp.einsum("ii->i", flat @ flat.T),
        lambda: jnp.triu(flat),
        lambda: jnp.tril(flat),
    ]
    one += [
        lambda: jnp.trace(flat),
        lambda: jnp.outer(flat[:, 0], flat[:, 0]),
        lambda: jnp.kron(flat, jnp.ones(2)),
    ]
    one += [lambda: flat.T[:, :, None] * flat.T[:, None], lambda: jnp.vdot(flat, flat)]
    return d.one(one)()


def windowed(d, v, n, x):
    a = d.axis(v)
    window, strides = [1] * v.ndim, [1] * v.ndim
    window[a] = d.one([1, 2, 3])
    strides[a] = d.one([1, 1, 2])
    padding = d.one(["SAME", "VALID"])
    flat = v.reshape(len(v), -1)
    one = [lambda: jax.lax.reduce_window(v, -jnp.inf, jax.lax.max, window, strides, padding)]
    one += [lambda: jax.lax.reduce_window(v, 0.0, jax.lax.add, window, strides, padding)]
    kernel = jnp.arange(1.0, 4)
    one += [lambda: jax.vmap(lambda r: jnp.convolve(r, kernel, "same"), 0, 0)(flat)]
    one += [lambda: jax.vmap(lambda r: jnp.convolve(r, kernel, "same"), 1, 1)(flat)]
    names = [
        ("NCW", "OIW", "NCW"),
        ("CNW", "OIW", "NCW"),
        ("WNC", "OIW", "NWC"),
        ("NWC", "OIW", "CNW"),
        ("CWN", "WIO", "CWN"),
    ]

    def convolution(groups, batch_groups):
        spec = d.one(names)
        image = flat[:, :, None] * jnp.ones(2) if d.random.random() < 0.5 else flat[None]
        channels = image.shape[spec[0].index("C")]
        sizes = {"O": 2 * groups * batch_groups, "I": channels // groups, "W": 2}
        filters = jnp.arange(1.0, 1 + np.prod([*sizes.values()])).reshape(
            [sizes[k] for k in spec[1]]
        )
        return jax.lax.conv_general_dilated(
            image, filters, (1,), [(0, 1)], rhs_dilation=(d.one([1, 1, 2]),),
            lhs_dilation=(d.one([1, 1, 2]),), dimension_numbers=spec,
            feature_group_count=groups, batch_group_count=batch_groups,
        )  # fmt: skip

    one += [lambda: convolution(1, 1), lambda: convolution(1, 1)]
    one += [lambda: convolution(flat.shape[1], 1), lambda: convolution(1, len(flat))]
    return d.one(one)()


def matrices(d, v, n, x):
    flat = v.reshape(len(v), -1)
    small = jnp.einsum("ij,ik->ijk", flat[:, :2], flat[:, :2]) + 2 * jnp.eye(2)
    gram = flat @ flat.T + len(v) * jnp.eye(len(v))
    one = [lambda: jnp.linalg.inv(small), lambda: jnp.linalg.cholesky(small)]
    one += [lambda: jnp.linalg.solve(small, flat[:, :2, None]), lambda: jnp.linalg.eigh(small)[0]]
    one += [lambda: jnp.linalg.solve(gram, flat), lambda: jnp.linalg.cholesky(gram)]
    one += [lambda: jnp.linalg.qr(flat)[0], lambda: jnp.linalg.norm(flat, axis=d.axis(flat))]
    one += [lambda: jnp.linalg.det(small), lambda: jnp.linalg.svd(flat, compute_uv=False)]
    one += [lambda: jax.scipy.linalg.solve_triangular(jnp.triu(small), flat[:, :2, None])]
    return d.one(one)()


# --- programs inside -------------------------------------------------------------------


def loops(d, v, n, x):
    a = d.axis(v)
    items = jnp.moveaxis(v, a, 0)
    first = items[0] if d.random.random() < 0.3 else jnp.zeros(items.shape[1:])
    turns = d.one([2, n, v.shape[a], 17, 20])
    one = [lambda: jax.lax.scan(lambda c, r: (c + r, c * r), first, items)[1]]
    one += [lambda: jax.lax.scan(lambda c, r: (jnp.tanh(c + r), c), first, items)[0]]
    one += [lambda: jax.lax.scan(lambda c, r: (c, jnp.sin(r)), first, items)[1]]
    one += [lambda: jax.lax.scan(lambda c, r: (c + 1, c * r), 0.0, items, reverse=True)[1]]
    one += [lambda: jax.lax.scan(lambda c, r: (r, c), first, items)[1]]
    one += [lambda: jax.lax.scan(lambda c, _: (jnp.sin(c), None), v, None, length=turns)[0]]
    one += [
        lambda: jax.lax.scan(lambda c, _: (jnp.roll(c, 1, a), c.sum()), v, None, length=turns)[0]
    ]
    one += [lambda: jax.lax.map(lambda r: r - r.mean(), items), lambda: jax.lax.map(jnp.tanh, v)]
    one += [lambda: jax.lax.fori_loop(0, turns, lambda k, c: c + k * v, v)]
    one += [lambda: jax.lax.fori_loop(0, turns, lambda k, c: jnp.tanh(c) + v, v)]
    one += [
        lambda: jax.lax.fori_loop(0, len(v), lambda k, c: c.at[k].set(v[k] * 2), jnp.zeros_like(v))
    ]
    one += [lambda: jax.lax.fori_loop(0, len(v), lambda k, c: c + v[k], v)]
    one += [
        lambda: jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, jnp.sin(s[1])), (0, v))[
            1
        ]
    ]
    one += [lambda: jax.lax.while_loop(lambda s: s.max() > 1, lambda s: s / 2, v)]
    one += [
        lambda: jax.lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, 2 * s[1]), (0, v))[1]
    ]
    return d.one(one)()


def choices(d, v, n, x):
    a = d.axis(v)
    asked = d.one(
        [lambda: v.sum() > 0, lambda: v.reshape(-1)[0] > 0, lambda: n > 3, lambda: jnp.bool_(True)]
    )()
    one = [lambda: jax.lax.cond(asked, jnp.sin, lambda v: 2 * v, v)]
    one += [lambda: jax.lax.switch(integers(v.sum(), 3), [jnp.sin, jnp.cos, jnp.tanh], v)]
    one += [lambda: jax.vmap(lambda r: jax.lax.cond(r.sum() > 0, jnp.sin, jnp.cos, r), a, a)(v)]
    one += [
        lambda: jax.vmap(lambda r, k: jax.lax.switch(k % 2, [jnp.sin, jnp.cos], r))(
            v, jnp.arange(len(v))
        )
    ]
    one += [lambda: jnp.where(jnp.arange(v.shape[a]) == 0, jnp.moveaxis(v, a, -1), 1.0)]
    one += [lambda: jnp.where(asked, v, 2 * v), lambda: jnp.piecewise(v, [v > 0], [jnp.sin, 0.0])]
    one += [lambda: jax.nn.one_hot(integers(v, 3), d.one([2, 3, n]))]
    one += [
        lambda: jax.nn.one_hot(jnp.arange(n), 3),
        lambda: jax.nn.one_hot(jnp.argmax(v, a), v.shape[a]),
    ]
    one += [lambda: jnp.searchsorted(jnp.sort(v.reshape(-1)), v) * 1.0]
    one += [
        lambda: jnp.searchsorted(jnp.arange(3.0), v) * 1.0,
        lambda: jnp.bincount(integers(v.reshape(-1), 4), length=4) * 1.0,
    ]
    one += [lambda: jnp.interp(v, jnp.arange(3.0), jnp.arange(3.0) ** 2)]
    one += [
        lambda: jnp.vstack([v.reshape(1, -1), v.reshape(1, -1)]),
        lambda: jnp.broadcast_to(v[:1], v.shape),
    ]
    one += [
        lambda: jnp.broadcast_to(v.mean(a, keepdims=True), v.shape),
        lambda: jnp.meshgrid(v.reshape(-1), v.reshape(-1))[0],
    ]
    return d.one(one)()


OPERATIONS = (
    entrywise, entrywise, counted, moved, moved, cut, joined, padded, looked_up, written, reduced,
    along, contracted, windowed, matrices, loops, choices,
)  # fmt: skip


def attempted(operation, d, v, n, x):
    """The result of an operation, or what there was if it does not fit."""
    made = v
    with suppress(IndexError, TypeError, ValueError, ZeroDivisionError):
        made = operation(d, v, n, x)
    made = made[None] if made.ndim == 0 else made
    return v if made.size > MOST_ENTRIES or made.ndim > 5 or 0 in made.shape else made


def random_program(seed):
    """``predict(w, x)`` for ``w`` of shape (3, 2) and ``x`` (n, 3), with outputs (n,)."""

    def predict(w, x):
        d, n = Draw(seed), len(x)
        pool = [x, x @ w, x[:, :, None] * w]
        v = d.one(pool)
        for _ in range(1 + int(5 * d.random.random() ** 1.3)):
            operation, other, combine = d.one(OPERATIONS), d.one(pool), d.random.random()
            v = attempted(operation, d, v, n, x)
            pool.append(v)
            if combine < 0.15:
                v = attempted(lambda d, v, n, x, other=other: v * other, d, v, n, x)
            elif combine < 0.25:
                v = other
        axis, how, only = d.axis(v), d.random.random(), d.random.random()
        axis = 0 if how < 0.8 else axis
        v = v.real.astype(float)
        if v.shape[axis] == n:
            outputs = jnp.moveaxis(v, axis, 0).reshape(n, -1).sum(1)
        else:
            outputs = v.mean() * jnp.ones(n)
        return outputs if only < 0.2 else outputs + jnp.sin(x @ w).sum(1) * outputs

    return predict
