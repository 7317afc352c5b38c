"""A two-layer network, plain descent on it, and its Jacobian by finite differences, in NumPy."""

import numpy as np


def initial(width, dim=3, n_outputs=1, seed=0):
    """Parameters of a tanh network in the NTK parametrisation."""
    rng = np.random.default_rng(seed)
    return {
        "first": {"w": rng.normal(size=(dim, width)), "b": rng.normal(size=width)},
        "last": {"w": rng.normal(size=(width, n_outputs))},
    }


def rows(n=24, dim=3, seed=1):
    """Inputs and a nonlinear target."""
    x = np.random.default_rng(seed).normal(size=(n, dim))
    return x, np.sin(2 * x[:, 0]) * x[:, 1]


def flat(params):
    """All parameters as one vector."""
    return np.concatenate(
        [params["first"]["b"], params["first"]["w"].ravel(), params["last"]["w"].ravel()]
    )


def unflat(vector, like):
    """The way back from `flat`."""
    b, w, v = like["first"]["b"], like["first"]["w"], like["last"]["w"]
    k, j = b.size, b.size + w.size
    return {
        "first": {"w": vector[k:j].reshape(w.shape), "b": vector[:k]},
        "last": {"w": vector[j:].reshape(v.shape)},
    }


def outputs(params, x):
    """(n, c)."""
    d, width = params["first"]["w"].shape
    hidden = np.tanh(x @ params["first"]["w"] / d**0.5 + params["first"]["b"])
    return hidden @ params["last"]["w"] / width**0.5


def jacobian(params, x, h=1e-6):
    """(n, c, p) by central differences."""
    center = flat(params)
    columns = []
    for k in range(center.size):
        up, down = center.copy(), center.copy()
        up[k] += h
        down[k] -= h
        columns.append((outputs(unflat(up, params), x) - outputs(unflat(down, params), x)) / 2 / h)
    return np.stack(columns, -1)


def trained(params, x, y, alpha=1.0, n_steps=200, rate=1.0):
    """Full-batch descent on the mean squared error of α(f − f₀), at rate/α²."""
    start, d = outputs(params, x), params["first"]["w"].shape[0]
    width = params["first"]["w"].shape[1]
    now = {g: {k: v.copy() for k, v in group.items()} for g, group in params.items()}
    for _ in range(n_steps):
        hidden = np.tanh(x @ now["first"]["w"] / d**0.5 + now["first"]["b"])
        out = hidden @ now["last"]["w"] / width**0.5
        error = 2 * alpha * (alpha * (out - start) - y.reshape(out.shape)) / out.size
        back = (error @ now["last"]["w"].T) * (1 - hidden**2) / width**0.5
        step = rate / alpha**2
        now["last"]["w"] -= step * hidden.T @ error / width**0.5
        now["first"]["w"] -= step * x.T @ back / d**0.5
        now["first"]["b"] -= step * back.sum(0)
    return now


def centered(kernel):
    """A kernel (nc, nc), rows times outputs, centred over rows; from a Jacobian (n, c, p)."""
    jac = kernel - kernel.mean(0)
    n, c, p = jac.shape
    return jac.reshape(n * c, p) @ jac.reshape(n * c, p).T
