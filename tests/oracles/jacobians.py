"""Tangent kernels by the definition: one Jacobian for each row, contracted in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np


def kernel_by_jacobians(predict, params, x, x2=None, *, traced=False):
    """Θ[i, j, a, b] from explicit Jacobians, each row of the input on its own."""
    left = _row_jacobians(predict, params, x)
    right = left if x2 is None else _row_jacobians(predict, params, x2)
    kernel = np.einsum("iap,jbp->ijab", left, right, optimize=True)
    return np.einsum("ijaa->ij", kernel) if traced else kernel


def _row_jacobians(predict, params, x):
    """(n, c, p) with all differentiable parameters in one flat axis."""
    leaves, treedef = jax.tree.flatten(params)
    real = [k for k, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

    def outputs(chosen, row):
        replaced = list(leaves)
        for k, value in zip(real, chosen, strict=True):
            replaced[k] = value
        return predict(jax.tree.unflatten(treedef, replaced), row[None]).reshape(-1)

    # Jitted for speed only: each row still goes through the network alone.
    jacobian = jax.jit(jax.jacrev(outputs))
    rows = []
    for row in x:
        parts = jacobian([leaves[k] for k in real], row)
        rows.append(np.concatenate([np.asarray(p, float).reshape(len(p), -1) for p in parts], 1))
    return np.stack(rows)


def committee_kernel(weights, x, *, alpha, epsilon):
    """The committee machine's kernel in closed form, Eq. 5 times α²/N."""
    weights, x = np.asarray(weights, float), np.asarray(x, float)
    mean = weights.mean(0)
    moment = weights.T @ weights / len(weights)
    linear = (x @ mean)[:, None] + (x @ mean)[None]
    bracket = 1 + epsilon * linear + epsilon**2 * x @ moment @ x.T
    return alpha**2 / len(weights) * (x @ x.T) * bracket


def two_layer_kernel(first, second, x):
    """f = V tanh(W x): both layers' gradients written out by hand, (n, n, c, c)."""
    first, second, x = (np.asarray(a, float) for a in (first, second, x))
    hidden = np.tanh(x @ first.T)
    slopes = 1 - hidden**2
    inner = np.einsum("ah,ih,jh,bh->ijab", second, slopes, slopes, second)
    outer = np.eye(len(second)) * (hidden @ hidden.T)[:, :, None, None]
    return inner * (x @ x.T)[:, :, None, None] + outer
