"""Sparse parity: the product of a few of many signs."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray
from pydantic import PositiveInt, model_validator

from lazyrich._base import InputError

from ._task import JointKernel, TaskData, VectorTask


class ParityTask(VectorTask):
    """Labels y = Π_{i∈S} x_i of inputs of D random signs, S being k of the coordinates.

    No function of fewer than k coordinates explains any of y, so a kernel must give
    weight to degree k to learn it. Both sets are drawn with replacement from the 2^D
    inputs: where D is small they share rows.

    Attributes:
        dim: D, number of inputs.
        n_relevant: k, number of coordinates that count.
        n_train: number of training points.
        n_test: number of test points, sampled anew.

    Raises:
        InputError: if more coordinates count than there are.

    Example:
        >>> data = ParityTask(dim=10, n_relevant=3, n_train=20, n_test=5).sample(0)
        >>> data.x.shape, len(data.target), bool((jnp.abs(data.y) == 1).all())
        ((20, 10), 3, True)
    """

    kind: Literal["parity"] = "parity"
    dim: PositiveInt
    n_relevant: PositiveInt
    n_train: PositiveInt
    n_test: PositiveInt

    @model_validator(mode="after")
    def _has_enough_inputs(self) -> "ParityTask":
        if self.n_relevant > self.dim:
            raise InputError(
                f"n_relevant is {self.n_relevant}, more than the {self.dim} inputs of dim"
            )
        return self

    def sample(self, seed: int, *, kernel: JointKernel | None = None) -> TaskData:
        """Sample the data; ``target`` holds the coordinates that count, increasing."""
        target_key, train_key, test_key = jax.random.split(self.keys(seed)[0], 3)
        choice = jax.random.choice(target_key, self.dim, (self.n_relevant,), replace=False)
        relevant = jnp.sort(choice)

        def sample(key: PRNGKeyArray, n: int) -> tuple[Array, Array]:
            x = jax.random.rademacher(key, (n, self.dim), jnp.result_type(float))
            return x, x[:, relevant].prod(-1)

        train, test = sample(train_key, self.n_train), sample(test_key, self.n_test)
        return TaskData(*train, *test, relevant)
