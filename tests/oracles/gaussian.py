"""Averages over Gaussian vectors in NumPy float64: exact for polynomials, or sampled.

Gauss–Hermite nodes integrate every polynomial of degree up to 2·``order`` − 1 in each
coordinate exactly, so a tensor grid turns the averages of the paper into finite sums.
"""

import numpy as np


def quadrature(dim, *, variance, order=5):
    """Points (order**dim, dim) and weights summing to one, for N(0, variance · I)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    points = np.stack(np.meshgrid(*[nodes] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    grid = np.stack(np.meshgrid(*[weights] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    product = grid.prod(axis=1)
    return np.sqrt(variance) * points, product / product.sum()


def samples(dim, n, *, variance, seed):
    """``n`` independent draws of N(0, variance · I)."""
    return np.sqrt(variance) * np.random.default_rng(seed).standard_normal((n, dim))


def mean_and_error(values):
    """The mean of independent values and its standard error."""
    values = np.asarray(values, np.float64)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
