"""The interface of a task: validated settings, and data from seeds."""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree, Shaped
from pydantic import Field

from lazyrich._base import Config, InputError, concrete, require_whole, shown

Seed = Annotated[int, Field(ge=0, lt=2**32)]

JointKernel = Callable[[Array], Array]
"""From inputs (n, …) to their (n, n) kernel."""


LABEL_SCALE = {"label_scale": ("scaling.label_scale", 1.0)}
"""A setting that two tasks once had: experiments scale the labels of every task now."""


class TaskData(NamedTuple):
    """One sample of a task.

    Attributes:
        x: training inputs; vectors (n, d), or tokens (n, t) of whole numbers.
        y: training labels (n,) or (n, c), label units; classes come one-hot.
        x_test: test inputs.
        y_test: their labels.
        target: what made the labels, if there is such a thing: directions β_k as rows,
            a teacher's parameters, a parity's coordinates; else None.

    Example:
        >>> from lazyrich.tasks import ParityTask
        >>> data = ParityTask(dim=4, n_relevant=2, n_train=3, n_test=1).sample(0)
        >>> data.x.shape, data.y.shape, data.x_test.shape, data.target.shape
        ((3, 4), (3,), (1, 4), (2,))
    """

    x: Shaped[Array, "n ..."]
    y: Shaped[Array, "n ..."]
    x_test: Shaped[Array, "m ..."]
    y_test: Shaped[Array, "m ..."]
    target: PyTree = None


def scale_labels(data: TaskData, scale: float) -> TaskData:
    """The data with every label times a number.

    Args:
        data: of any task.
        scale: the factor.

    Returns:
        The data; inputs and target are those that were given.

    Example:
        >>> import jax.numpy as jnp
        >>> data = TaskData(jnp.zeros((1, 2)), jnp.ones(1), jnp.zeros((1, 2)), jnp.ones(1))
        >>> scale_labels(data, 2.0).y.tolist()
        [2.0]
    """
    if scale == 1 and jnp.issubdtype(data.y.dtype, jnp.floating):
        return data  # a product would be compiled for every number of rows
    return data._replace(y=data.y * scale, y_test=data.y_test * scale)


class Task(Config):
    """Settings of a task; abstract.

    Attributes:
        data_seed: seed of inputs and targets; None takes the experiment's.
        split_seed: seed of which points are for training; None takes the experiment's.
            Tasks without a pool sample both halves and split nothing.
        version: number of the task's numerics; part of the store's key.
        labels: "real" numbers, or "classes" in one-hot rows.
        labels_from_kernel: whether ``draw`` needs a kernel.
        dynamic_hyperparameters: fields that change the numbers sampled and not their
            shapes, from 1.
        n_train: P, number of training points; a field or a property of every task.
        n_test: number of test points.

    Example:
        >>> from lazyrich.tasks import TASKS, ParityTask
        >>> isinstance(ParityTask(dim=4, n_relevant=2, n_train=3, n_test=1), Task), len(TASKS)
        (True, 8)
    """

    version: ClassVar[int] = 1
    labels: ClassVar[Literal["real", "classes"]] = "real"
    labels_from_kernel: ClassVar[bool] = False
    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = ()

    data_seed: Seed | None = None
    split_seed: Seed | None = None

    if TYPE_CHECKING:  # fields of some tasks, properties of others

        @property
        def kind(self) -> str: ...

        @property
        def n_train(self) -> int: ...

        @property
        def n_test(self) -> int: ...

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """Length d of an input vector, or number of tokens in a row."""

    @property
    @abstractmethod
    def n_outputs(self) -> int | None:
        """Number c of outputs; None where labels are one number each, of shape (n,)."""

    @property
    def vocabulary(self) -> int | None:
        """How many different tokens there are; None where inputs are vectors."""
        return None

    @abstractmethod
    def sample(self, seed: int, *, kernel: JointKernel | None = None) -> TaskData:
        """Sample the data.

        Args:
            seed: the experiment's seed, used where the task has none of its own.
            kernel: kernel of the net that will be trained, at its start; only labels
                that are made from a kernel need it.

        Returns:
            The data, in the precision that JAX works in.
        """

    def keys(self, seed: int) -> tuple[PRNGKeyArray, PRNGKeyArray]:
        """Keys of the data and of the split, apart even where both seeds are equal.

        Raises:
            InputError: if the seed is not a whole number from 0 to 2³² − 1; JAX would take some
                others for one of these.
        """
        require_whole(seed=seed)
        known = concrete(seed)
        if known is not None and not 0 <= int(known) < 2**32:
            raise InputError(f"seed is {shown(seed)}; give a whole number from 0 to {2**32 - 1}.")
        data = self.data_seed if self.data_seed is not None else seed
        split = self.split_seed if self.split_seed is not None else seed
        return (
            jax.random.fold_in(jax.random.key(data), 0),
            jax.random.fold_in(jax.random.key(split), 1),
        )


class VectorTask(Task):
    """A task of vectors of ``dim`` numbers, labelled by one number each; abstract."""

    if TYPE_CHECKING:  # a field of every such task

        @property
        def dim(self) -> int: ...

    @property
    def n_inputs(self) -> int:
        return self.dim

    @property
    def n_outputs(self) -> None:
        return None
