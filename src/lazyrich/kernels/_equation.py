"""The type of one equation of a traced program."""

from typing import Any

Equation = Any
"""A ``jax.extend.core.JaxprEqn``; JAX declares its variables without their shapes and dtypes."""
