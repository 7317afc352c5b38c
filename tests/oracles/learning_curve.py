"""The eigenlearning equations by the most literal route: plain NumPy float64, bisection."""

import numpy as np


def effective_ridge(n, eigenvalues, counts, ridge):
    """κ from n = Σ m λ/(λ + κ) + ridge/κ, by halving κ itself on a log scale."""
    low, high = 1e-30, 1e30
    for _ in range(400):
        kappa = np.sqrt(low * high)
        if (counts * eigenvalues / (eigenvalues + kappa)).sum() + ridge / kappa > n:
            low = kappa
        else:
            high = kappa
    return kappa


def errors(n, eigenvalues, power, counts, noise, ridge):
    """Test error on clean labels and train error on noisy ones."""
    kappa = effective_ridge(n, eigenvalues, counts, ridge)
    learned = eigenvalues / (eigenvalues + kappa)
    factor = n / (n - (counts * learned**2).sum())
    total = factor * (((1 - learned) ** 2 * power).sum() + noise)
    return total - noise, (ridge / (n * kappa)) ** 2 * total


def ridge_regression(features, targets, query_features, ridge):
    """Predictions of kernel ridge regression with the kernel features·featuresᵀ."""
    gram = features @ features.T + ridge * np.eye(len(features))
    if ridge:
        dual = np.linalg.solve(gram, targets)
    else:
        dual = np.linalg.pinv(gram, rcond=1e-11, hermitian=True) @ targets
    return query_features @ (features.T @ dual), features @ (features.T @ dual)


def quadratic_features(x, epsilon):
    """Features whose inner product is x·x′ + ε²(x·x′)²."""
    pairs = np.einsum("ni,nj->nij", x, x).reshape(len(x), -1)
    return np.concatenate([x, epsilon * pairs], 1)
