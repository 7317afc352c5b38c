"""Labels made from a kernel: one of its eigenvectors (§6.1, §17)."""

from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float, PRNGKeyArray
from pydantic import PositiveInt, model_validator

from lazyrich._base import AddedLater, InputError, require_finite

from ._sampling import gaussian_inputs
from ._task import JointKernel, TaskData, VectorTask


class EigenvectorTask(VectorTask):
    """Labels are the j-th eigenvector of a kernel on inputs x ~ N(0, I/D).

    The eigenvector is that of the *joint* kernel on training and test inputs: its first
    entries label the training inputs, the rest the test inputs. (Extending the training
    kernel's eigenvector to new inputs would give the kernel's own interpolant, which is
    learned exactly.) A large index is a label that the kernel is slow to learn; beyond
    the kernel's rank it is one that the kernel cannot learn.

    Where eigenvalues coincide up to the rounding of the kernel, which of their eigenvectors a
    linear algebra library returns depends on the machine. The labels are drawn there: seeded
    normal vectors, one for each of these indices, projected onto the eigenvectors and
    orthonormalized in turn.

    The sign is such that the entry of largest magnitude is positive. The decomposition
    is in float64 in any case; the kernel is in the precision that JAX works in.
    Because labels are joint, a change of n_train or n_test changes all of them.

    Attributes:
        dim: D, number of inputs.
        n_train: P, number of training points.
        n_test: number of test points.
        index: j, from 1, the largest eigenvalue's.
        scale: "rms" 1 or "norm" 1 of the labels over both sets, label units.
        remove_mean: then subtract the mean over both sets.
        less_mean: take the eigenvectors of the kernel less the mean of all its entries,
            as the authors' Figures 5 and 19 do; their labels are then left as they are.

    Raises:
        InputError: if the index is larger than n_train + n_test.

    Example:
        >>> task = EigenvectorTask(dim=10, n_train=20, n_test=5, index=1)
        >>> data = task.sample(0, kernel=lambda x: x @ x.T)
        >>> labels = jnp.concatenate([data.y, data.y_test])
        >>> labels.shape, round(float(jnp.square(labels).mean()), 6)
        ((25,), 1.0)

    References:
        Kumar et al. (2024), §6.1 and Figures 5 and 19.
    """

    version: ClassVar[int] = 2  # 1: where eigenvalues coincide, as the library returned them
    labels_from_kernel: ClassVar[bool] = True
    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = ("index",)

    kind: Literal["eigenvector"] = "eigenvector"
    dim: PositiveInt
    n_train: PositiveInt
    n_test: PositiveInt
    index: PositiveInt = 1
    scale: Literal["rms", "norm"] = "rms"
    remove_mean: bool = False
    less_mean: Annotated[bool, AddedLater()] = False

    @model_validator(mode="after")
    def _has_enough_points(self) -> "EigenvectorTask":
        if self.index > self.n_train + self.n_test:
            raise InputError(
                f"index is {self.index}, more than the {self.n_train + self.n_test} eigenvectors "
                "of a kernel on n_train + n_test points"
            )
        return self

    def sample(self, seed: int, *, kernel: JointKernel | None = None) -> TaskData:
        """Sample the inputs and label them by the kernel.

        Args:
            seed: the experiment's seed, used where the task has none of its own.
            kernel: from inputs (n, d) to their symmetric (n, n) kernel.

        Raises:
            InputError: if there is no kernel, or what it returns is not finite or not
                (n, n).
        """
        if kernel is None:
            raise InputError(
                "The labels of an eigenvector task are made from a kernel and none was given; "
                "pass kernel=, a function from inputs (n, d) to their kernel (n, n)."
            )
        data_key = self.keys(seed)[0]
        train_key, test_key = jax.random.split(data_key)
        x = gaussian_inputs(train_key, self.n_train, dim=self.dim)
        x_test = gaussian_inputs(test_key, self.n_test, dim=self.dim)
        return self.labelled(x, x_test, kernel, data_key)

    def labelled(
        self, x: jax.Array, x_test: jax.Array, kernel: JointKernel, key: PRNGKeyArray
    ) -> TaskData:
        """The data of given inputs (n_train, d) and (n_test, d).

        Args:
            x: training inputs.
            x_test: test inputs.
            kernel: as for ``sample``.
            key: of the labels where eigenvalues coincide.
        """
        labels = self._labels(kernel(jnp.concatenate([x, x_test])), key)
        labels = jnp.asarray(labels, x.dtype)
        return TaskData(x, labels[: self.n_train], x_test, labels[self.n_train :])

    def _labels(self, joint_kernel: jax.Array, key: PRNGKeyArray) -> np.ndarray:
        n = self.n_train + self.n_test
        joint = np.asarray(joint_kernel, np.float64)
        if joint.shape != (n, n):
            raise InputError(
                f"The kernel of {n} inputs has the shape {joint.shape}; wanted {(n, n)}: "
                "trace a kernel of several outputs first."
            )
        require_finite(kernel=joint)
        _, exponent = np.frexp(np.abs(joint).max())
        joint = np.ldexp(joint, -exponent)  # exactly; its square may leave the range of numbers
        # Entries off by some units in the last place move eigenvalues by less than this.
        dtype = np.result_type(joint_kernel.dtype, np.float32)
        rounding = 16 * float(np.finfo(dtype).eps) * float(np.linalg.norm(joint))
        if self.less_mean:
            joint = joint - joint.mean()
        labels = _eigenvector((joint + joint.T) / 2, self.index, rounding, key)
        labels = labels * np.sign(labels[np.abs(labels).argmax()])
        if self.scale == "rms":
            labels = labels * np.sqrt(n)
        return labels - labels.mean() if self.remove_mean else labels


def _eigenvector(
    matrix: Float[np.ndarray, "n n"], index: int, rounding: float, key: PRNGKeyArray
) -> Float[np.ndarray, " n"]:
    """An eigenvector of norm 1, drawn where eigenvalues are equal up to rounding.

    Args:
        matrix: symmetric.
        index: from 1, the largest eigenvalue's.
        rounding: by which an eigenvalue may be off.
        key: of the draw.
    """
    values, vectors = scipy.linalg.eigh(matrix)
    values, vectors = values[::-1], vectors[:, ::-1]
    apart = np.flatnonzero(-np.diff(values) > rounding) + 1
    starts = np.concatenate([[0], apart, [len(values)]])
    group = np.searchsorted(starts, index - 1, side="right")
    start, stop = starts[group - 1], starts[group]
    if stop - start == 1:
        return vectors[:, start]
    basis = vectors[:, start:stop]
    # A draw for each index, so that its number does not depend on where the group ends.
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(start, index))
    drawn = jax.vmap(lambda one: jax.random.normal(one, (len(values),)))(keys)
    coordinates, _ = np.linalg.qr(basis.T @ np.asarray(drawn, np.float64).T)
    return basis @ coordinates[:, -1]
