"""Oracle: explicit float64 Jacobians of one row at a time, for one parameter used in every way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.jacobians import kernel_by_jacobians
from oracles.row_programs import own_tangent

from lazyrich.kernels import ntk

RNG = np.random.default_rng(0)
P, X = jnp.asarray(RNG.normal(size=(8, 8)) / 2), jnp.asarray(RNG.normal(size=(4, 8)))
X = X.at[2].set(X[1])


@jax.custom_vjp
def halved(z):
    return jnp.sin(z)


halved.defvjp(lambda z: (jnp.sin(z), z), lambda z, g: (g * jnp.cos(z) / 2,))


def ids(h, below=8):
    """Whole numbers, some of them equal."""
    return (jnp.abs(jax.lax.stop_gradient(h)) * 7).astype(int) % below


def convolved(h, filters, spec=("NCW", "OIW", "NCW"), image=(2, 4), **options):
    options = {"window_strides": (1,), "padding": "SAME"} | options
    made = jax.lax.conv_general_dilated(
        h.reshape(len(h), *image), filters, dimension_numbers=spec, **options
    )
    return made.reshape(len(h), -1)


USES = {
    "product": lambda h, p: h @ p,
    "from the left": lambda h, p: (p @ h.T).T,
    "sliced": lambda h, p: h[:, ::2] @ p[::2, 1:7],
    "chunks": lambda h, p: sum(h @ part for part in jnp.split(p, 2, 1)),
    "unstacked": lambda h, p: jnp.stack([(h * row).sum(1) for row in p], 1),
    "joined": lambda h, p: h @ jnp.concatenate([p, p[:, :2] ** 2], 1),
    "dynamic slice": lambda h, p: (
        h
        + jax.vmap(lambda k: jax.lax.dynamic_slice(p, (k, k), (1, 2)).sum())(ids(h)[:, 0])[:, None]
    ),
    "updated": lambda h, p: h @ jax.lax.dynamic_update_slice(p, p[:2, :2] ** 2, (1, 1)),
    "set": lambda h, p: h @ p.at[0].set(2.0).at[:, 1].multiply(p[0, 0]),
    "scattered": lambda h, p: jnp.zeros_like(h).at[:, np.array([1, 1, 3])].add(p[0, :3] * h[:, :3]),
    "sums of segments": lambda h, p: h @ jax.ops.segment_sum(p, np.arange(8) // 2, 8),
    "quadratic": lambda h, p: jnp.einsum("ni,ij,nj->n", h, p, h)[:, None] * h,
    "diagonal": lambda h, p: jnp.einsum("ni,ii->ni", h, p),
    "heads": lambda h, p: jnp.einsum(
        "nhd,hde->nhe", h.reshape(-1, 4, 2), p.reshape(4, 2, 8)
    ).reshape(len(h), -1),
    "looked up": lambda h, p: h * p[ids(h)[:, 0]],
    "looked up negatively": lambda h, p: h + p[ids(h) - 8].mean(1),
    "looked up outside": lambda h, p: h + p.at[ids(h, 12)].get(mode="fill", fill_value=0.5).sum(1),
    "looked up and clipped": lambda h, p: h + p.at[ids(h, 12)].get(mode="clip").sum(1),
    "looked up pairs": lambda h, p: h + p[ids(h), ids(h[:, ::-1])],
    "looked up columns": lambda h, p: h + p[:, ids(h)[:, 1]].T,
    "along an axis": lambda h, p: h + jnp.take_along_axis(p[:1] * h, ids(h), 1),
    "renewed table": lambda h, p: h + jnp.tanh(p)[ids(h)].sum(1),
    "one-hot": lambda h, p: h + jax.nn.one_hot(ids(h), 8).sum(1) @ p,
    "where": lambda h, p: jnp.where(h > 0, h * p[0], p[1]),
    "clipped": lambda h, p: jnp.clip(h @ p, -0.5, p[0]),
    "maximum": lambda h, p: jnp.maximum(h, p[0]) + jnp.abs(p[1]),
    "largest": lambda h, p: (
        (h @ p).max(1, keepdims=True) + jax.lax.top_k(h * p[0], 3)[0].sum(1, keepdims=True) + h
    ),
    "sorted": lambda h, p: jnp.sort(h @ p, 1) * jnp.sort(p[0]),
    "pooled": lambda h, p: jax.lax.reduce_window(
        h @ p, -jnp.inf, jax.lax.max, (1, 2), (1, 2), "VALID"
    ),
    "cumulated": lambda h, p: jnp.cumsum(h * p[0], 1) + jnp.cumprod(p[1]),
    "softmax": lambda h, p: h @ jax.nn.softmax(p, 0),
    "weight norm": lambda h, p: h @ (p / jnp.linalg.norm(p, axis=0) * p[0]),
    "inverse": lambda h, p: h @ jnp.linalg.inv(p + 4 * jnp.eye(8)),
    "solve": lambda h, p: jnp.linalg.solve(p + 4 * jnp.eye(8), h.T).T,
    "cholesky": lambda h, p: h @ jnp.linalg.cholesky(p @ p.T + jnp.eye(8)),
    "exponential": lambda h, p: h @ jax.scipy.linalg.expm(p / 4),
    "complex": lambda h, p: jnp.abs(h @ (p + 1j * p.T) + 0.1),
    "spectrum": lambda h, p: jnp.fft.irfft(jnp.fft.rfft(h) * jnp.fft.rfft(p[0]), n=8),
    "custom tangents": lambda h, p: own_tangent(h @ own_tangent(p)),
    "custom cotangents": lambda h, p: halved(h @ halved(p)),
    "made again": lambda h, p: jax.checkpoint(lambda h, p: jnp.sin(h @ p) @ p)(h, p),
    "vmap": lambda h, p: jax.vmap(lambda row: jnp.tanh(p @ row))(h),
    "vmap of weights": lambda h, p: jax.vmap(lambda row, w: row * w, (None, 0), 1)(h, p).sum(1),
    "map": lambda h, p: jax.lax.map(lambda row: row @ p, h),
    "scan of weights": lambda h, p: jax.lax.scan(
        lambda c, w: (jnp.tanh(c * w + c), c[:, :1]), h, p
    )[0],
    "scan of features": lambda h, p: jax.lax.scan(
        lambda c, r: (jnp.tanh(c @ p[:2, :2] + r[:, None]), c), h[:, :2], h.T
    )[0],
    "long loop": lambda h, p: jax.lax.fori_loop(0, 20, lambda k, c: jnp.sin(c @ p / 2), h),
    "choice": lambda h, p: jax.vmap(
        lambda r: jax.lax.cond(r[0] > 0, lambda: r @ p, lambda: r @ p.T)
    )(h),
    "switch": lambda h, p: jax.vmap(
        lambda r, k: jax.lax.switch(k, [lambda: r @ p, lambda: r * p[0], lambda: r])
    )(h, ids(h, 3)[:, 0]),
    "convolution": lambda h, p: convolved(h, p[:3, :6].reshape(3, 2, 3)),
    "convolution, strides": lambda h, p: convolved(
        h, p[:3, :4].reshape(3, 2, 2), window_strides=(2,), padding=[(1, 2)]
    ),
    "convolution, dilated": lambda h, p: convolved(
        h, p[:3, :4].reshape(3, 2, 2), rhs_dilation=(2,)
    ),
    "convolution, transposed": lambda h, p: convolved(
        h, p[:3, :6].reshape(3, 2, 3), lhs_dilation=(2,), padding=[(1, 1)]
    ),
    "convolution, grouped": lambda h, p: convolved(
        h, p[:4, :2].reshape(4, 1, 2), feature_group_count=2
    ),
    "convolution, last": lambda h, p: convolved(
        h, p[:2, :6].reshape(2, 2, 3), ("NWC", "WIO", "NWC"), (4, 2)
    ),
    "convolution, cut": lambda h, p: convolved(h, p[:3, :6].reshape(3, 2, 3), padding=[(-1, 1)]),
    "convolution, flipped": lambda h, p: convolved(h, p[:3, :6].reshape(3, 2, 3)[..., ::-1]),
    "convolution of weights": lambda h, p: h + convolved(p[:1], p[1:3, :6].reshape(2, 2, 3)),
    "own filters": lambda h, p: jax.vmap(lambda r: jnp.convolve(r, p[0, :3] * r[:3]))(h),
    "image": lambda h, p: jax.lax.conv(
        h.reshape(-1, 2, 2, 2), p[:3].reshape(3, 2, 2, 2), (1, 1), "SAME"
    ).reshape(len(h), -1),
    "places": lambda h, p: (jnp.tanh(h.reshape(-1, 4, 2) @ p[:2]) * p[3]).mean(1),
    "attention": lambda h, p: jax.nn.softmax(
        h.reshape(-1, 4, 2) @ p[:2, :2] @ h.reshape(-1, 4, 2).transpose(0, 2, 1)
    ).reshape(len(h), -1),
    "integers": lambda h, p: ids(h) @ p + (h > 0) @ p.T,
    "single precision": lambda h, p: (
        (h.astype(jnp.float32) @ p.astype(jnp.float32)).astype(float) * p[0]
    ),
    "stopped": lambda h, p: h @ p * jax.lax.stop_gradient(h @ p),
    "powers": lambda h, p: (h @ p) ** 3 + jnp.abs(h) ** p[0, 0],
    "low rank": lambda h, p: h @ p[:, :2] @ p[:2] - p[0] + p[:, 1],
    "kron": lambda h, p: h @ jnp.kron(p[:2, :2], p[:4, :4]),
    "triangle": lambda h, p: h @ jnp.tril(p) @ p.T,
}


def check(names):
    def predict(p, x):
        for name in names:
            h = USES[name](x, p)
            x = jnp.tanh(fitted(h))
        return x[:, :2] + x[:, -2:] * p[0, 0]

    expected = kernel_by_jacobians(predict, P, X)
    size = np.abs(expected).max()
    rtol = 1e-5 if "single precision" in names else 1e-10
    for traced, wanted in ((False, expected), (True, np.einsum("ijaa->ij", expected))):
        found = ntk(predict, P, X, trace_outputs=traced)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=rtol * size, err_msg=str(names))


def fitted(h):
    """Any rows as eight numbers each."""
    if h.shape[1] < 8:
        return jnp.pad(h, ((0, 0), (0, 8 - h.shape[1])))
    return h[:, :8] - h[:, -8:][:, ::-1] / 2


QUICK = ("looked up pairs", "set", "convolution, cut", "switch")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in USES]
)
def test_a_parameter_that_is_used_in_one_way(name):
    check([name])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_a_parameter_that_is_used_in_several_ways(seed):
    rng = np.random.default_rng(seed)
    check([str(name) for name in rng.choice(list(USES), rng.integers(2, 4))])
