"""How many samples are needed for grokking to be seen: enough for features, few for the kernel."""

import jax.numpy as jnp
import matplotlib.pyplot as plt

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

n_train = jnp.arange(10.0, 1000.0, 10.0)
curve = learning_curve(eigenvalues, power, n_train=n_train, multiplicities=sizes)
left = curve.test_error / power.sum()
for n in (20, 40, 200, 500, 900):
    print(f"P = {n:>4}: a lazy network leaves {left[n // 10 - 1]:.3f} of the labels' power")

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
axes.plot(n_train, left, label="a lazy network")
axes.axvspan(float(window.lower), float(window.upper), alpha=0.15, label="grokking can be seen")
axes.set(xlabel="training points P", ylabel="test error / power of the labels", ylim=0)
axes.legend()
figure.savefig("goldilocks_range.png", dpi=150)

assert window.lower == D
assert 500 < window.upper < D * (D + 3) / 2 + 1
