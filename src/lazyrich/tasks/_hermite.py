"""A Hermite polynomial of one direction (§15.2)."""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray
from pydantic import Field, PositiveInt

from lazyrich._base import draw, hermite

from ._sampling import gaussian_inputs
from ._task import LABEL_SCALE, JointKernel, TaskData, VectorTask


class HermiteTask(VectorTask):
    """Labels y = He_k(β·x) of inputs x ~ N(0, I/D), with ‖β‖² = D exactly.

    He_k are the probabilists' polynomials (He₂ = h² − 1, He₃ = h³ − 3h), orthogonal
    under N(0, 1) with ⟨He_k²⟩ = k!. Because ‖β‖² is D and not only near it, β·x is
    standard normal and y has no part of lower degree. Degrees above about 4 are heavy
    in the tails: means over test points need many of them.

    Attributes:
        dim: D, number of inputs.
        degree: k, from 1.
        n_train: P, number of training points.
        n_test: number of test points, sampled anew.

    Example:
        >>> task = HermiteTask(dim=10, degree=3, n_train=20, n_test=5)
        >>> task.sample(0).y.shape
        (20,)

    References:
        Kumar et al. (2024), §15.2.
    """

    renamed = LABEL_SCALE

    kind: Literal["hermite"] = "hermite"
    dim: PositiveInt
    degree: Annotated[int, Field(ge=1, le=12)]
    n_train: PositiveInt
    n_test: PositiveInt

    def sample(self, seed: int, *, kernel: JointKernel | None = None) -> TaskData:
        """Sample the data; ``target`` holds β as its one row (1, d)."""
        target_key, train_key, test_key = jax.random.split(self.keys(seed)[0], 3)
        direction = draw(jax.random.normal, target_key, (1, self.dim))
        direction *= jnp.sqrt(self.dim) / jnp.linalg.norm(direction)

        def sample(key: PRNGKeyArray, n: int) -> tuple[Array, Array]:
            x = gaussian_inputs(key, n, dim=self.dim)
            return x, hermite(x @ direction[0], self.degree)

        train, test = sample(train_key, self.n_train), sample(test_key, self.n_test)
        return TaskData(*train, *test, direction)
