"""The committee machine unit by unit, in NumPy float64: output, kernel, Eqs. 2 and 3 as defined."""

import numpy as np


def activation(field, epsilon):
    """φ(h) = h + (ε/2) h²."""
    return field + 0.5 * epsilon * field**2


def output(weights, readouts, x, *, alpha, epsilon):
    """f = (α/N) Σ_i v_i φ(w_i·x), one value a row of x."""
    total = np.zeros(len(x))
    for weight, readout in zip(weights, readouts, strict=True):
        total += readout * activation(x @ weight, epsilon)
    return alpha / len(weights) * total


def target(directions, x):
    """y = ½ Σ_k (β_k·x)²."""
    return sum(0.5 * (x @ beta) ** 2 for beta in np.atleast_2d(directions))


def unscaled_kernel(mean_weight, second_moment, x, x2, epsilon):
    """The kernel of Eq. 5 as printed, that is without α²/N."""
    overlap = x @ x2.T
    means = (x @ mean_weight)[:, None] + (x2 @ mean_weight)[None, :]
    return overlap * (1 + epsilon * means + epsilon**2 * x @ second_moment @ x2.T)
