"""Metrics of a network's parameters: how large they are, and how far from the start."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lazyrich._base import Params

from ._history import Description
from ._metric import Metric, Snapshot


class WeightNorm(Metric):
    """‖θ‖, and the norm of each parameter array on its own.

    Records ``weight_norm`` and ``weight_norms`` (axis ``parameter``).
    """

    names: ClassVar[Sequence[str]] = ("weight_norm", "weight_norms")

    kind: Literal["weight_norm"] = "weight_norm"

    def measure(self, now: Snapshot, reference: None) -> dict[str, Array]:
        """Frobenius norms."""
        norms = _norms(now.params)
        return {"weight_norm": jnp.linalg.norm(norms), "weight_norms": norms}

    def describe(self, params: Params) -> dict[str, Description]:
        """The arrays by name."""
        return {"weight_norms": Description(axes=("parameter",), coordinates=(_names(params),))}


class ParameterChange(Metric):
    """‖θ − θ₀‖/‖θ₀‖, of all parameters together: zero at the start, small if lazy.

    Records ``parameter_change``.
    """

    names: ClassVar[Sequence[str]] = ("parameter_change",)

    kind: Literal["parameter_change"] = "parameter_change"

    def measure(self, now: Snapshot, reference: None) -> dict[str, Array]:
        """The relative change."""
        moved = jax.tree.map(jnp.subtract, now.params, now.params0)
        start = jnp.linalg.norm(_norms(now.params0))
        return {"parameter_change": jnp.linalg.norm(_norms(moved)) / start}


def _norms(params: Params) -> Array:
    leaves = [leaf for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.stack([jnp.linalg.norm(leaf.ravel()) for leaf in leaves])


def _names(params: Params) -> tuple[str, ...]:
    paths = jax.tree_util.tree_leaves_with_path(params)
    return tuple(
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, leaf in paths
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    )
