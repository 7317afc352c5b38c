"""Gradient descent on the weights of a committee machine, in plain float64 NumPy.

Formulas written out by hand from Eqs. 3 and 21: no autodiff, no statistics.
"""

import numpy as np
from oracles import committee_network


def output(weights, x, *, alpha, epsilon, readouts=None):
    """(α/N) Σ v_i φ(w_i·x), with all readouts one unless they are given."""
    readouts = np.ones(len(weights)) if readouts is None else readouts
    return committee_network.output(weights, readouts, x, alpha=alpha, epsilon=epsilon)


def gradient_descent(
    weights,
    x,
    y,
    *,
    alpha,
    epsilon,
    learning_rate,
    n_steps,
    centered=True,
    momentum=0.0,
    readouts=None,
    train_readouts=False,
):
    """Weights (and readouts) after n steps at η = learning_rate·N/α² on (1/P)Σ(f−y)²."""
    weights = np.array(weights, dtype=np.float64)
    width = len(weights)
    v = np.ones(width) if readouts is None else np.array(readouts, dtype=np.float64)
    subtracted = output(weights, x, alpha=alpha, epsilon=epsilon, readouts=v) if centered else 0.0
    step = learning_rate * width / alpha**2
    weight_speed, readout_speed = np.zeros_like(weights), np.zeros_like(v)
    losses = []
    for _ in range(n_steps):
        hidden = x @ weights.T
        active = hidden + 0.5 * epsilon * hidden**2
        residual = alpha * active @ v / width - subtracted - y
        losses.append(np.mean(residual**2))
        upstream = 2 * alpha / width * residual[:, None] / len(y)
        weight_gradient = (upstream * (1 + epsilon * hidden) * v).T @ x
        readout_gradient = (upstream * active).sum(0)
        weight_speed = momentum * weight_speed + weight_gradient
        weights = weights - step * weight_speed
        if train_readouts:
            readout_speed = momentum * readout_speed + readout_gradient
            v = v - step * readout_speed
    return weights, v, np.array(losses)
