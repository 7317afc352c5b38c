"""Do the labels fit the tangent kernel of a network of your own? Before any training."""

import jax
import jax.numpy as jnp

import lazyrich as lz


def predict(params, x):
    """Any pure function of parameters and a batch."""
    return jnp.tanh(x @ params["w"]) @ params["v"]


keys = jax.random.split(jax.random.key(0), 3)
params = {
    "w": jax.random.normal(keys[0], (10, 200)),
    "v": jax.random.normal(keys[1], (200,)) / 200,
}
x = jax.random.normal(keys[2], (150, 10)) / 10**0.5
kernel = lz.ntk(predict, params, x)

found = {}
for name, y in {"linear": x[:, 0], "quadratic": x[:, 0] ** 2 - 0.1}.items():
    found[name] = float(lz.debiased_alignment(kernel, y))
    print(f"{name:>9} labels: alignment {lz.alignment(kernel, y):.3f}, ", end="")
    print(f"chance {lz.chance_alignment(kernel):.3f}, debiased {found[name]:.3f}, ", end="")
    print(f"yᵀK⁻¹y/|y|² {lz.difficulty(kernel, y) / (y @ y):.2g}")

# A lazy tanh network sees linear functions first; squares are hard for it.
assert found["linear"] > 0.1 > abs(found["quadratic"])
