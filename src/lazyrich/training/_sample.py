"""From settings to arrays: data and initial weights of a network's run, in its precision."""

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, PyTree

from lazyrich._base import Params, Predictor
from lazyrich.kernels import ntk
from lazyrich.models import Net
from lazyrich.tasks import Task, TaskData, scale_labels

from ._hyperparameters import Hyperparameters
from ._network import NetworkKey, prepared_references
from ._printed import PrintedDraw, printed_start
from ._resolution import require_resolved
from ._simulation import Inputs
from .methods import scale_first_layer


class Source(NamedTuple):
    """What decides data and initial weights.

    Attributes:
        task: what is learned.
        net: the function with parameters.
        weight_scale: σ.
        label_scale: factor of every label.
        seed: of the weights, the batches, and the data unless the task has its own.
        precision: of parameters and data.
        printed: keys of a printed figure, or None.
        first_layer_scale: κ, or None.
    """

    task: Task
    net: Net
    weight_scale: float
    label_scale: float
    seed: int
    precision: str
    printed: PrintedDraw | None
    first_layer_scale: float | None = None


def sampled(
    source: Source, key: NetworkKey, hyper: Hyperparameters, drawn: dict[PyTree, PyTree]
) -> Inputs:
    """The inputs of a run.

    Everything is drawn in double precision and rounded, so that runs in single and in
    double precision start from the same numbers.

    Args:
        source: what to draw.
        key: of the run's program.
        hyper: numbers, which become arrays.
        drawn: data that was drawn before; what is new is added.

    Raises:
        InputError: if the task cannot be drawn, such as for files that are missing, or the
            precision cannot resolve what a run with so large an α changes.
    """
    dtype = np.dtype(source.precision)
    with jax.enable_x64(True):
        params0, draw_data = _start(source)
        identity = _identity(source)
        if identity not in drawn:
            drawn[identity] = _rounded(scale_labels(draw_data(), source.label_scale), dtype)
    with jax.enable_x64(source.precision == "float64"):
        inputs = Inputs(
            data=drawn[identity],
            params0=_rounded(params0, dtype),
            hyper=jax.tree.map(lambda value: jax.numpy.asarray(value, dtype), hyper),
            key=jax.random.fold_in(jax.random.key(source.seed), 3),
        )
        require_resolved(
            np.asarray(hyper.alpha).item(),
            inputs.data.y,
            lambda: _predictor(source.net)(*jax.device_put((inputs.params0, inputs.data.x))),
            source.precision,
        )
    return inputs._replace(references=_references(key, inputs, dtype))


def _start(source: Source) -> tuple[Params, Callable[[], TaskData]]:
    """Initial weights, and what draws the data."""
    net, task, seed = source.net, source.task, source.seed

    def kernel(params: Params, x: Array) -> Array:
        return ntk(_predictor(net), params, x, trace_outputs=True)

    if source.printed is not None:
        params0, data = printed_start(source.printed, task, net, source.weight_scale, kernel)
        return params0, lambda: data
    params0 = net.init(
        jax.random.fold_in(jax.random.key(seed), 2),
        n_inputs=task.n_inputs,
        n_outputs=task.n_outputs,
        vocabulary=task.vocabulary,
        weight_scale=source.weight_scale,
    )
    if source.first_layer_scale is not None:
        params0 = scale_first_layer(params0, source.first_layer_scale)
    return params0, lambda: task.sample(seed, kernel=lambda x: kernel(params0, x))


@lru_cache(maxsize=32)
def _predictor(net: Net) -> Predictor:
    """The net as a function, the same one for equal nets: its kernel is compiled once."""
    return net.predictor(**{name: getattr(net, name) for name in net.dynamic_hyperparameters})


def _references(key: NetworkKey, inputs: Inputs, dtype: np.dtype) -> tuple[PyTree, ...]:
    """What metrics compare with, where that is decomposed: of the rounded inputs, in double."""
    if not any(metric.is_prepared for metric in key.metrics):
        return (None,) * len(key.metrics)
    double = inputs._replace(
        hyper=_rounded(inputs.hyper, np.dtype("float64")),
        params0=_rounded(inputs.params0, np.dtype("float64")),
        data=_rounded(inputs.data, np.dtype("float64")),
    )
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        return _rounded(prepared_references(key, double), dtype)


def _identity(source: Source) -> tuple[Hashable, ...]:
    """Equal for runs that have the same data."""
    task, seed = source.task, source.seed
    shared = (task, source.label_scale, source.precision, source.printed)
    if task.labels_from_kernel:
        return (*shared, source.net, source.weight_scale, source.first_layer_scale, seed)
    if task.data_seed is not None and task.split_seed is not None:
        return shared
    return (*shared, seed)


def _rounded(tree: PyTree, dtype: np.dtype) -> PyTree:
    """NumPy copies in the run's precision; whole numbers in 32 bits."""

    def convert(leaf: PyTree) -> PyTree:
        array = np.asarray(leaf)
        if np.issubdtype(array.dtype, np.floating):
            return array.astype(dtype)
        return array.astype(np.int32) if np.issubdtype(array.dtype, np.integer) else array

    return jax.tree.map(convert, tree)
