"""How many samples are needed for grokking to be seen: enough for features, few for the kernel."""

import jax.numpy as jnp

from lazyrich.theory import (
    eigenspace_sizes,
    goldilocks_range,
    initial_eigenvalues,
    learning_curve,
    target_power,
)

D, EPSILON = 40, 0.25
beta = jnp.zeros(D).at[0].set(D**0.5)

eigenvalues = jnp.array(initial_eigenvalues(dim=D, epsilon=EPSILON))
power = jnp.array(target_power(beta))
sizes = jnp.array(eigenspace_sizes(D))
print("eigenspaces (linear, quadratic, squared norm):", sizes, eigenvalues, power)

window = goldilocks_range(eigenvalues, power, dim=D, multiplicities=sizes)
print(f"late generalisation can be seen between P = {window.lower:.0f} and {window.upper:.0f}")

n_train = jnp.array([20.0, 40.0, 200.0, 500.0, 900.0])
curve = learning_curve(eigenvalues, power, n_train=n_train, multiplicities=sizes)
for n, error in zip(n_train, curve.test_error, strict=True):
    print(f"P = {n:>4.0f}: a lazy network leaves {error / power.sum():.3f} of the labels' power")
assert window.lower == D
assert 500 < window.upper < D * (D + 3) / 2 + 1
