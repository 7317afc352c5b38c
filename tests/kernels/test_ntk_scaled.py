"""Oracle: explicit Jacobians contracted in NumPy float64 (oracles/jacobians.py).

Weights that are scaled before they are used: by gains, by masks, by their own norms.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.jacobians import kernel_by_jacobians

from lazyrich.kernels import explain_ntk, ntk

# Rounding of float64 sums over a few thousand products of numbers of order one.
RTOL = 1e-11
tanh = jnp.tanh
FIXED = np.cos(np.arange(240.0)).reshape(12, 20)
UNITS, FEATURES = np.arange(20) % 3 > 0, np.arange(12) % 4 > 0


def norm(w, axis):
    return jnp.sqrt((w**2).sum(axis, keepdims=True))


def spectral(w):
    left = jnp.ones(len(w)) @ w
    return (left**2).sum() ** 0.5


# Each takes p = {w: (12, 20), v: (20, 3), gain: (20,), b: (20,), d: (12,)}, x of (n, 12); whether
# w is to be structured.
SCALED = {
    "gain of units": (lambda p, x: tanh(x @ (p["w"] * p["gain"])) @ p["v"], True),
    "gain of features": (lambda p, x: tanh(x @ (p["d"][:, None] * p["w"])) @ p["v"], True),
    "both gains": (lambda p, x: tanh(x @ (p["w"] * p["gain"] / p["d"][:, None])) @ p["v"], True),
    "mask of units": (lambda p, x: tanh(x @ (p["w"] * UNITS)) @ p["v"], True),
    "mask of features": (lambda p, x: tanh(x @ (FEATURES[:, None] * p["w"])) @ p["v"], True),
    "mask of entries": (lambda p, x: tanh(x @ (p["w"] * np.eye(12, 20))) @ p["v"], False),
    "weight normalisation": (
        lambda p, x: tanh(x @ (p["gain"] * p["w"] / norm(p["w"], 0)) + p["b"]) @ p["v"], True),
    "transposed": (
        lambda p, x: tanh(x @ (p["d"] * p["w"].T / norm(p["w"].T, 1)).T) @ p["v"], True),
    "norms of features": (lambda p, x: tanh(x @ (p["w"] / norm(p["w"], 1))) @ p["v"], True),
    "one norm": (lambda p, x: tanh(x @ (p["w"] / norm(p["w"], None))) @ p["v"], True),
    "spectral": (lambda p, x: tanh(x @ (p["w"] / spectral(p["w"]))) @ p["v"], True),
    "norm held fixed": (
        lambda p, x: tanh(x @ (p["w"] / jax.lax.stop_gradient(norm(p["w"], 0)))) @ p["v"], True),
    "two norms, one of the other": (
        lambda p, x: tanh(x @ (p["w"] / norm(p["w"], 0)) * norm(p["w"] / norm(p["w"], 0), 1)[0])
        @ p["v"], True),
    "norm as the output's scale": (
        lambda p, x: tanh(x @ p["w"]) @ p["v"] * norm(p["w"], None)[0], True),
    "norm as an output": (
        lambda p, x: (tanh(x @ p["w"]) @ p["v"]).at[:, 0].set(norm(p["w"], None)[0, 0]), True),
    "normalised twice": (
        lambda p, x: tanh(tanh(x @ (p["w"] / norm(p["w"], 0))) @ (p["w"] / norm(p["w"], 0)).T)
        @ (p["w"] / norm(p["w"], 0)) @ p["v"], True),
    "all parameters normalised": (
        lambda p, x: tanh(x @ (p["w"] / norm(p["w"], 0))) @ (p["v"] / norm(p["v"], 0)), True),
    "standardised": (
        lambda p, x: tanh(x @ ((p["w"] - p["w"].mean(0)) / p["w"].std(0))) @ p["v"], False),
    "softplus": (lambda p, x: tanh(x @ (jax.nn.softplus(p["w"]) * p["gain"])) @ p["v"], False),
    "low rank beside fixed weights": (
        lambda p, x: tanh(x @ (FIXED + p["w"][:, :2] @ p["v"].T[:2])) @ p["v"], True),
    "low rank, subtracted": (
        lambda p, x: tanh(x @ (p["w"][:, :2] @ (p["v"].T[:2] * 0.5) - FIXED)) @ p["v"], True),
    "low rank, subtracted from": (
        lambda p, x: tanh((FIXED - p["w"][:, :2] @ p["v"].T[:2]).T @ x.T).T @ p["v"], True),
    "low rank alone": (
        lambda p, x: tanh((p["v"][:, :2] @ p["w"].T[:2, :]) @ x.T).T @ p["v"], True),
    "low rank of all": (
        lambda p, x: tanh(x[:, None] @ (p["w"][:, 1:2] @ p["v"].T[:1] + p["w"])).sum(1) @ p["v"],
        True),
    "heads": (
        lambda p, x: tanh(jnp.einsum("nhi,hio->no", x.reshape(-1, 3, 4),
                                     p["w"].reshape(3, 4, 20) * p["d"][:3, None, None])) @ p["v"],
        True),
}  # fmt: skip


@pytest.mark.parametrize("name", SCALED)
def test_scaled_weights(name):
    predict, is_structured = SCALED[name]
    rng = np.random.default_rng(0)
    shapes = {"w": (12, 20), "v": (20, 3), "gain": (20,), "b": (20,), "d": (12,)}
    params = {key: jnp.asarray(rng.normal(size=shape)) for key, shape in shapes.items()}
    x = jnp.asarray(rng.normal(size=(4, 12)))
    traced = len(name) % 2 == 0  # one form of each
    expected = kernel_by_jacobians(predict, params, x, traced=traced)
    kernel = ntk(predict, params, x, trace_outputs=traced)
    np.testing.assert_allclose(kernel, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())
    assert (explain_ntk(predict, params, x)["['w']"].kind == "contraction") == is_structured
