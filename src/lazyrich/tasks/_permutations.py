"""Composition of permutations: every pair of elements of S_n, some for training."""

import math
from functools import cache
from itertools import permutations
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from pydantic import Field, model_validator

from lazyrich._base import InputError

from ._sampling import one_hot
from ._task import JointKernel, Task, TaskData


class PermutationTask(Task):
    """The class a ∘ b of every pair of permutations of n things, (a ∘ b)(i) = a(b(i)).

    The pool is all (n!)² pairs in lexicographic order. The split seed decides which are for
    training; nothing else is random, so the data seed changes nothing.

    Attributes:
        n_things: n, from 2 to 5: S₅ has 120 elements and 14 400 pairs.
        fraction: share of the pairs for training, above 0 and below 1.
        inputs: "onehot", vectors (rows, 2 n!) with a one at a and one at n! + b; or
            "tokens", whole numbers (rows, 3): a, b and the token n! that stands for "=".

    Raises:
        InputError: if no pair would be left for training or for testing.

    Example:
        >>> task = PermutationTask(n_things=3, fraction=0.5)
        >>> data = task.sample(0)
        >>> data.x.shape, data.y.shape, data.x_test.shape
        ((18, 12), (18, 6), (18, 12))

    References:
        Power et al. (2022), Grokking, whose hardest task is composition in S₅.
    """

    labels = "classes"

    kind: Literal["permutations"] = "permutations"
    n_things: Annotated[int, Field(ge=2, le=5)] = 5
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5
    inputs: Literal["onehot", "tokens"] = "onehot"

    @model_validator(mode="after")
    def _can_be_split(self) -> "PermutationTask":
        n_pairs = self.n_elements**2
        if not 0 < self.n_train < n_pairs:
            raise InputError(
                f"fraction is {self.fraction}, which leaves {self.n_train} of {n_pairs} pairs for "
                "training; wanted at least one for training and one for testing"
            )
        return self

    @property
    def n_elements(self) -> int:
        """Number n! of permutations."""
        return math.factorial(self.n_things)

    @property
    def n_train(self) -> int:
        """Number of training pairs: the fraction of the pool, rounded."""
        return round(self.fraction * self.n_elements**2)

    @property
    def n_test(self) -> int:
        """Number of test pairs: the rest of the pool."""
        return self.n_elements**2 - self.n_train

    @property
    def n_inputs(self) -> int:
        """2 n! entries of a vector, or 3 tokens."""
        return 3 if self.inputs == "tokens" else 2 * self.n_elements

    @property
    def n_outputs(self) -> int:
        return self.n_elements

    @property
    def vocabulary(self) -> int | None:
        """n! permutations and "="; None for one-hot inputs."""
        return self.n_elements + 1 if self.inputs == "tokens" else None

    def sample(self, seed: int, *, kernel: JointKernel | None = None) -> TaskData:
        """Split the pool; rows of both sets stand in the order of the split."""
        n = self.n_elements
        order = np.asarray(jax.random.permutation(self.keys(seed)[1], n * n))
        a, b = np.divmod(order, n)
        x, y = self._encoded(a, b), one_hot(_products(self.n_things)[a, b], n)
        k = self.n_train
        return TaskData(x[:k], y[:k], x[k:], y[k:])

    def facts(self) -> dict[str, float]:
        """Numbers of pairs, and what answers without learning score over the pool.

        Returns:
            ``n_pairs``, ``n_train``, ``n_test``; ``chance_accuracy`` of a random class,
            1/n!; ``chance_cross_entropy`` of equal logits, ln n!.
        """
        n = self.n_elements
        return {
            "n_pairs": float(n * n),
            "n_train": float(self.n_train),
            "n_test": float(self.n_test),
            "chance_accuracy": 1 / n,
            "chance_cross_entropy": math.log(n),
        }

    def _encoded(self, a: np.ndarray, b: np.ndarray) -> Array:
        n = self.n_elements
        if self.inputs == "tokens":
            return jnp.asarray(np.stack([a, b, np.full_like(a, n)], axis=1), jnp.int32)
        return jnp.concatenate([one_hot(a, n), one_hot(b, n)], axis=1)


@cache
def _products(n_things: int) -> np.ndarray:
    """The multiplication table, (n!, n!), of permutations in lexicographic order."""
    elements = np.array(list(permutations(range(n_things))))
    weights = n_things ** np.arange(n_things)
    place = {int(code): k for k, code in enumerate(elements @ weights)}
    composed = elements[:, elements]  # a, b, i: a(b(i))
    return np.vectorize(place.__getitem__)(composed @ weights)
