"""Handwritten digits: scikit-learn's own, or MNIST from local files (§6)."""

from functools import cache
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import PositiveInt, model_validator

from lazyrich._base import InputError, require_extra

from ._files import N_CLASSES, SIDE, data_folder, expanded, read_mnist
from ._sampling import one_hot
from ._task import JointKernel, Task, TaskData

# Side of an image, and how many there are for training and for testing. The small digits
# are one set of 1797, which is split here.
SIDES = {"digits": 8, "mnist": SIDE}
N_DIGITS = 1797
MNIST_SIZES = {"n_train": 60_000, "n_test": 10_000}


class ImageTask(Task):
    """Images of handwritten digits, flattened, pixels 0 to 1; the class is the digit.

    "digits" are the 1797 images of 8 × 8 pixels that come with scikit-learn. "mnist" is
    read from local files: `lazyrich data mnist` fetches them.

    MNIST's official training and test sets stay separate. The small digits are one set:
    training takes it from the front and testing from the back, of the set's own order or
    of a random one, so a larger training set changes no test image. (In the set's own
    order both halves hold other writers' digits.)

    Attributes:
        source: "digits" or "mnist".
        n_train: number of training images.
        n_test: number of test images.
        subset: "first" images of the set (of both of MNIST's sets), or "random" ones,
            chosen by the split seed.
        size: side to which images are reduced by taking means over squares, such as 14
            for MNIST; a divisor of the side; None keeps the images.
        folder: where MNIST's four IDX files lie, gzipped or not, or an npz file with
            ``x_train``, ``y_train``, ``x_test``, ``y_test``; None takes the folder
            that `lazyrich data mnist` writes to.

    Raises:
        InputError: if the set has fewer images or the size is not a divisor of the side;
            ``draw`` also if files are missing or corrupt.

    Example:
        >>> task = ImageTask(n_train=100, n_test=50, size=4)
        >>> data = task.sample(0)
        >>> data.x.shape, data.y.shape, float(data.x.max()) <= 1
        ((100, 16), (100, 10), True)

    References:
        Kumar et al. (2024), §6, Figure 6(a); Liu et al. (2022), Omnigrok, which takes
        the first 1000 images.
    """

    labels = "classes"

    kind: Literal["images"] = "images"
    source: Literal["digits", "mnist"] = "digits"
    n_train: PositiveInt = 1000
    n_test: PositiveInt = 500
    subset: Literal["first", "random"] = "first"
    size: PositiveInt | None = None
    folder: str | None = None

    @model_validator(mode="after")
    def _has_enough_images(self) -> "ImageTask":
        side = SIDES[self.source]
        if self.size is not None and side % self.size:
            raise InputError(
                f"size is {self.size}; the images have {side} × {side} pixels, so choose a "
                f"divisor of {side}"
            )
        if self.source == "digits":
            if self.folder is not None:
                raise InputError(
                    'folder is given but source is "digits", which come with scikit-learn; '
                    'choose source "mnist" to read files'
                )
            if self.n_train + self.n_test > N_DIGITS:
                raise InputError(
                    f"n_train + n_test is {self.n_train + self.n_test}; there are {N_DIGITS} digits"
                )
            return self
        for name, most in MNIST_SIZES.items():
            if getattr(self, name) > most:
                raise InputError(f"{name} is {getattr(self, name)}; MNIST has {most} such images")
        return self

    @property
    def n_inputs(self) -> int:
        return (self.size or SIDES[self.source]) ** 2

    @property
    def n_outputs(self) -> int:
        return N_CLASSES

    def sample(self, seed: int, *, kernel: JointKernel | None = None) -> TaskData:
        """Read and choose the images.

        Raises:
            InputError: if files are missing or corrupt, or hold too few images.
        """
        read = self._digits if self.source == "digits" else self._mnist
        return read(self.keys(seed)[1])

    def _digits(self, key: PRNGKeyArray) -> TaskData:
        images, labels = _small_digits()
        order = self._order(key, len(images))
        train, test = order[: self.n_train], order[len(order) - self.n_test :]
        return self._data(images[train], labels[train], images[test], labels[test])

    def _mnist(self, key: PRNGKeyArray) -> TaskData:
        place = expanded(self.folder) if self.folder else data_folder() / "mnist"
        files = read_mnist(place)
        chosen = []
        train_key, test_key = jax.random.split(key)
        for name, key, images, labels in (
            ("n_train", train_key, files.train_images, files.train_labels),
            ("n_test", test_key, files.test_images, files.test_labels),
        ):
            n_images = getattr(self, name)
            if n_images > len(images):
                raise InputError(
                    f"{name} is {n_images} but the files in {place} hold {len(images)} such "
                    "images; ask for fewer."
                )
            order = self._order(key, len(images))[:n_images]
            chosen += [images[order] / 255, labels[order]]
        return self._data(*chosen)

    def _order(self, key: PRNGKeyArray, n: int) -> np.ndarray:
        if self.subset == "first":
            return np.arange(n)
        return np.asarray(jax.random.permutation(key, n))

    def _data(
        self, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray
    ) -> TaskData:
        return TaskData(
            self._pixels(x), one_hot(y, N_CLASSES), self._pixels(x_test), one_hot(y_test, N_CLASSES)
        )

    def _pixels(self, images: np.ndarray) -> Float[Array, "n d"]:
        n, side, _ = images.shape
        size = self.size or side
        squares = images.reshape(n, size, side // size, size, side // size)
        return jnp.asarray(squares.mean((2, 4)).reshape(n, -1), jnp.result_type(float))


@cache
def _small_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 8, 8), pixels 0 to 1, and labels; read once."""
    require_extra("images", "The data set digits")
    from sklearn.datasets import load_digits  # takes a second to import

    images, labels = load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8) / 16, labels
