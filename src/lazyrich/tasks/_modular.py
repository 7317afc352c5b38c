"""Arithmetic modulo p: every pair of numbers, some for training (§3, §8.3)."""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from pydantic import Field, model_validator

from lazyrich._base import InputError

from ._sampling import one_hot
from ._task import JointKernel, Task, TaskData

Numbers = np.ndarray


class Operation(NamedTuple):
    """What is computed modulo p.

    Attributes:
        result: the number from arrays a, b of whole numbers and p, before the remainder.
        is_commutative: (a, b) and (b, a) have the same label.
    """

    result: Callable[[Numbers, Numbers, int], Numbers]
    is_commutative: bool


def _quotient(a: Numbers, b: Numbers, p: int) -> Numbers:
    inverses = np.array([0] + [pow(n, -1, p) for n in range(1, p)])
    return a * inverses[b]


OPERATIONS: dict[str, Operation] = {
    "add": Operation(lambda a, b, p: a + b, True),
    "subtract": Operation(lambda a, b, p: a - b, False),
    "multiply": Operation(lambda a, b, p: a * b, True),
    "divide": Operation(_quotient, False),
    "square_sum": Operation(lambda a, b, p: a**2 + b**2, True),
    "quadratic": Operation(lambda a, b, p: a**2 + a * b + b**2, True),
    "cubic": Operation(lambda a, b, p: a**3 + a * b, False),
}
"""Every operation by name."""


class ModularTask(Task):
    """The class (a ∘ b) mod p of every pair of numbers below p.

    The pool is all pairs (a, b) in a fixed order (for "divide" those with b ≠ 0). The
    split seed decides which are for training; nothing else is random, so the data seed
    changes nothing. The same split seed with a larger fraction keeps all training pairs.

    A commutative operation has mirrored pairs of one label. Split one by one, a test
    pair's mirror image is often a training pair, and a net that has learned only
    a ∘ b = b ∘ a scores about ``fraction`` on the test set. ``unordered`` puts both on
    the same side; the pairs (a, a) are split apart from the others, so that the number
    of training points does not depend on the seed.

    Attributes:
        modulus: p, from 2; prime for "divide".
        operation: "add", "subtract", "multiply", "divide" (a b⁻¹), "square_sum"
            (a² + b²), "quadratic" (a² + ab + b²) or "cubic" (a³ + ab).
        fraction: share of the pairs for training, above 0 and below 1.
        inputs: "onehot", vectors (n, 2p) with a one at a and one at p + b; or "tokens",
            whole numbers (n, 3): a, b and the token p that stands for "=".
        unordered: keep mirrored pairs together; for commutative operations.

    Raises:
        InputError: if no pair would be left for training or for testing, if a quotient's
            modulus is not prime, or if ``unordered`` is asked of an operation that is
            not commutative.

    Example:
        >>> task = ModularTask(modulus=23, fraction=0.9)
        >>> data = task.sample(0)
        >>> data.x.shape, data.y_test.shape
        ((476, 46), (53, 23))

    References:
        Kumar et al. (2024), §3 and §8.3; Power et al. (2022).
    """

    labels = "classes"

    kind: Literal["modular"] = "modular"
    modulus: Annotated[int, Field(ge=2, le=1000)]
    operation: Literal[
        "add", "subtract", "multiply", "divide", "square_sum", "quadratic", "cubic"
    ] = "add"
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5
    inputs: Literal["onehot", "tokens"] = "onehot"
    unordered: bool = False

    @model_validator(mode="after")
    def _can_be_split(self) -> "ModularTask":
        if self.operation == "divide" and not _is_prime(self.modulus):
            raise InputError(f"modulus is {self.modulus}; division is defined modulo primes only")
        if self.unordered and not OPERATIONS[self.operation].is_commutative:
            raise InputError(
                f"unordered keeps (a, b) and (b, a) together, but {self.operation} is not "
                "commutative and gives them different labels"
            )
        n_train, n_pairs = self.n_train, self.n_pairs
        if not 0 < n_train < n_pairs:
            raise InputError(
                f"fraction is {self.fraction}, which leaves {n_train} of {n_pairs} pairs for "
                "training; wanted at least one for training and one for testing"
            )
        return self

    @property
    def n_pairs(self) -> int:
        """Number of pairs in the pool, p², or p(p − 1) for "divide"."""
        return self.modulus * (self.modulus - (self.operation == "divide"))

    @property
    def n_train(self) -> int:
        """Number of training pairs: the fraction of the pool, rounded."""
        if not self.unordered:
            return round(self.fraction * self.n_pairs)
        return sum(size * round(self.fraction * n) for size, n in self._groups())

    @property
    def n_test(self) -> int:
        """Number of test pairs: the rest of the pool."""
        return self.n_pairs - self.n_train

    @property
    def n_inputs(self) -> int:
        """2p entries of a vector, or 3 tokens."""
        return 3 if self.inputs == "tokens" else 2 * self.modulus

    @property
    def n_outputs(self) -> int:
        return self.modulus

    @property
    def vocabulary(self) -> int | None:
        """p numbers and "="; None for one-hot inputs."""
        return self.modulus + 1 if self.inputs == "tokens" else None

    def sample(self, seed: int, *, kernel: JointKernel | None = None) -> TaskData:
        """Split the pool; rows of both sets stand in the order of the split."""
        train, test = self._split(self.keys(seed)[1])
        a, b, result = self._pool()

        def rows(chosen: Numbers) -> tuple[Array, Array]:
            return self._encoded(a[chosen], b[chosen]), one_hot(result[chosen], self.modulus)

        return TaskData(*rows(train), *rows(test))

    def _pool(self) -> tuple[Numbers, Numbers, Numbers]:
        """Numbers a and b and their result, of all pairs."""
        numbers = np.arange(self.modulus, dtype=np.int64)
        a, b = np.meshgrid(numbers, numbers[self.operation == "divide" :], indexing="ij")
        result = OPERATIONS[self.operation].result(a, b, self.modulus) % self.modulus
        return a.ravel(), b.ravel(), result.ravel()

    def _groups(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Size and number of the groups (a, a), and of (a, b) with (b, a)."""
        p = self.modulus
        return (1, p), (2, p * (p - 1) // 2)

    def _split(self, key: PRNGKeyArray) -> tuple[Numbers, Numbers]:
        """Places in the pool of the training pairs, and of the test pairs."""
        if not self.unordered:
            order = np.asarray(jax.random.permutation(key, self.n_pairs))
            return order[: self.n_train], order[self.n_train :]
        p = self.modulus
        low, high = np.triu_indices(p, 1)
        equal = np.arange(p)[:, None] * (p + 1)
        mirrored = np.stack([low * p + high, high * p + low], axis=1)
        train, test = [], []
        for group_key, groups in zip(jax.random.split(key), (equal, mirrored), strict=True):
            order = np.asarray(jax.random.permutation(group_key, len(groups)))
            n_train = round(self.fraction * len(groups))
            train.append(groups[order[:n_train]].ravel())
            test.append(groups[order[n_train:]].ravel())
        return np.concatenate(train), np.concatenate(test)

    def _encoded(self, a: Numbers, b: Numbers) -> Array:
        if self.inputs == "tokens":
            tokens = np.stack([a, b, np.full_like(a, self.modulus)], axis=1)
            return jnp.asarray(tokens, jnp.int32)
        return jnp.concatenate([one_hot(a, self.modulus), one_hot(b, self.modulus)], axis=1)


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % k for k in range(2, int(n**0.5) + 1))
