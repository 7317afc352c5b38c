"""A teacher network that students are trained to imitate (§8.3.1)."""

from functools import partial
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import NonNegativeFloat, PositiveInt

from lazyrich._base import AddedLater, draw

from ._task import JointKernel, Task, TaskData

ACTIVATIONS = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "square": jnp.square,
    "linear": lambda h: h,
}

TeacherParams = tuple[tuple[Float[Array, "_ _"], Float[Array, " _"]], ...]
"""Weights (fan-in, fan-out) and biases (fan-out,) of every layer, first to last."""


class TeacherTask(Task):
    """Labels of a random multilayer net on inputs x ~ N(0, I), unit variance each.

    Every weight and bias of the teacher is U(±1/√fan-in), the usual start of a layer in
    deep-learning frameworks, unless said otherwise; no activation after the last layer.

    Attributes:
        dim: D, number of inputs.
        widths: number of units of each hidden layer, first to last; () is a linear teacher.
        target_dim: number of outputs.
        activation: "tanh", "relu", "square" (h²) or "linear".
        n_train: number of training points.
        n_test: number of test points, sampled anew.
        noise: standard deviation of Gaussian noise on every training label, label
            units. Test labels stay clean, so the test loss is the excess over the noise.
        initial: law of the teacher's weights and biases: "uniform", as above, or
            "unit_normal", N(0, 1) whatever the fan-in, as in the authors' Figure 13(b).
        use_bias: have biases; without, they are zero.

    Example:
        >>> task = TeacherTask(dim=10, n_train=20, n_test=5, widths=(8,))
        >>> data = task.sample(0)
        >>> data.x.shape, data.y.shape, [w.shape for w, _ in data.target]
        ((20, 10), (20, 5), [(10, 8), (8, 5)])

    References:
        Kumar et al. (2024), §8.3.1, Figures 8, 13, 17 and 18.
    """

    kind: Literal["teacher"] = "teacher"
    dim: PositiveInt = 5
    widths: tuple[PositiveInt, ...] = (100, 100)
    target_dim: PositiveInt = 5
    activation: Literal["tanh", "relu", "square", "linear"] = "tanh"
    n_train: PositiveInt = 100
    n_test: PositiveInt = 100
    noise: NonNegativeFloat = 0.0
    initial: Annotated[Literal["uniform", "unit_normal"], AddedLater()] = "uniform"
    use_bias: Annotated[bool, AddedLater()] = True

    @property
    def n_inputs(self) -> int:
        return self.dim

    @property
    def n_outputs(self) -> int:
        return self.target_dim

    def sample(self, seed: int, *, kernel: JointKernel | None = None) -> TaskData:
        """Sample the data; ``target`` holds the teacher's ``TeacherParams``."""
        teacher_key, train_key, test_key, noise_key = jax.random.split(self.keys(seed)[0], 4)
        params = self._teacher(teacher_key)
        x = draw(jax.random.normal, train_key, (self.n_train, self.dim))
        x_test = draw(jax.random.normal, test_key, (self.n_test, self.dim))
        y, y_test = self.labels_of(params, x), self.labels_of(params, x_test)
        if self.noise:
            y += self.noise * draw(jax.random.normal, noise_key, y.shape)
        return TaskData(x, y, x_test, y_test, params)

    def _teacher(self, key: PRNGKeyArray) -> TeacherParams:
        widths = (self.dim, *self.widths, self.target_dim)

        def sample(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int) -> Array:
            if self.initial == "unit_normal":
                return draw(jax.random.normal, key, shape)
            bound = fan_in**-0.5
            return draw(partial(jax.random.uniform, minval=-bound, maxval=bound), key, shape)

        def layer(key: PRNGKeyArray, fan_in: int, fan_out: int) -> tuple[Array, Array]:
            weight_key, bias_key = jax.random.split(key)
            biases = sample(bias_key, (fan_out,), fan_in)
            return (
                sample(weight_key, (fan_in, fan_out), fan_in),
                biases if self.use_bias else jnp.zeros_like(biases),
            )

        keys = jax.random.split(key, len(widths) - 1)
        return tuple(map(layer, keys, widths[:-1], widths[1:]))

    def labels_of(self, params: TeacherParams, x: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """The outputs of a teacher with these parameters."""
        *hidden, (weights, biases) = params
        for layer_weights, layer_biases in hidden:
            x = ACTIVATIONS[self.activation](x @ layer_weights + layer_biases)
        return x @ weights + biases
