"""Inputs that many tasks share: standard Gaussians over √D, so that ‖x‖² ≈ 1."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def gaussian_inputs(key: PRNGKeyArray, n: int, *, dim: int) -> Float[Array, "n d"]:
    """Inputs x ~ N(0, I/D), as rows."""
    return jax.random.normal(key, (n, dim)) / jnp.sqrt(dim)
