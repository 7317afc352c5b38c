"""Kernel instruments a second time, in plain NumPy float64, by the most literal route."""

import numpy as np


def mlp(params, x):
    """Two layers, tanh, several outputs: tanh(x W + b) V."""
    return np.tanh(x @ params["w"] + params["b"]) @ params["v"]


def mlp_jacobian(params, x):
    """∂f/∂θ of the MLP by hand, shape (n, c, p), parameters in the order b, v, w."""
    hidden = np.tanh(x @ params["w"] + params["b"])
    n, n_out = len(x), params["v"].shape[1]
    rows = []
    for i in range(n):
        for out in range(n_out):
            back = params["v"][:, out] * (1 - hidden[i] ** 2)
            d_v = np.zeros_like(params["v"])
            d_v[:, out] = hidden[i]
            rows.append(np.concatenate([back, d_v.ravel(), np.outer(x[i], back).ravel()]))
    return np.array(rows).reshape(n, n_out, -1)


def alignment(kernel, y):
    """⟨K, YYᵀ⟩ / (‖K‖ ‖YYᵀ‖), entry by entry."""
    y = y.reshape(len(y), -1)
    labels = y @ y.T
    return (kernel * labels).sum() / np.sqrt((kernel**2).sum() * (labels**2).sum())


def centering(n):
    return np.eye(n) - np.ones((n, n)) / n


def centered_alignment(kernel, y):
    h = centering(len(y))
    y = y.reshape(len(y), -1)
    left, right = h @ kernel @ h, h @ y @ y.T @ h
    return (left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum())


def column_centered_alignment(kernel, y):
    y = y.reshape(len(y), -1)
    kernel, labels = centering(len(y)) @ kernel, y @ y.T
    return (kernel * labels).sum() / np.sqrt((kernel**2).sum() * (labels**2).sum())


def hsic1(kernel, labels):
    """The unbiased estimate of HSIC, Song et al. (2012), Eq. 5, by its three sums."""
    n = len(kernel)
    k, el = kernel - np.diag(np.diag(kernel)), labels - np.diag(np.diag(labels))
    one = np.ones(n)
    trace = np.trace(k @ el)
    product = (one @ k @ one) * (one @ el @ one) / ((n - 1) * (n - 2))
    cross = 2 / (n - 2) * (one @ k @ el @ one)
    return (trace + product - cross) / (n * (n - 3))


def debiased_alignment(kernel, y):
    y = y.reshape(len(y), -1)
    labels = y @ y.T
    return hsic1(kernel, labels) / np.sqrt(hsic1(kernel, kernel) * hsic1(labels, labels))


def smallest_norm_fit(features, targets, query_features):
    """Least squares in feature space from zero: what ridgeless regression must equal."""
    return query_features @ np.linalg.lstsq(features, targets, rcond=1e-10)[0]


def ridge_fit(features, targets, query_features, ridge):
    """Ridge regression in feature space, by the normal equations."""
    gram = features.T @ features + ridge * np.eye(features.shape[1])
    return query_features @ np.linalg.solve(gram, features.T @ targets)


def descend_linear_model(
    features, targets, query_features, *, learning_rate, n_steps, momentum=0.0
):
    """Gradient descent on θ of f = features·θ with loss (1/P)Σ|f − y|², step by step.

    Returns predictions after 0, 1, …, n_steps steps on the training and query rows, and θ.
    """
    theta = np.zeros((features.shape[1], *targets.shape[1:]))
    velocity = np.zeros_like(theta)
    train, query = [features @ theta], [query_features @ theta]
    for _ in range(n_steps):
        gradient = 2 / len(targets) * features.T @ (features @ theta - targets)
        velocity = momentum * velocity + gradient
        theta = theta - learning_rate * velocity
        train.append(features @ theta)
        query.append(query_features @ theta)
    return np.array(train), np.array(query), theta
