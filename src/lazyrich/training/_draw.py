"""From settings to arrays: data and initial weights of a run, in its precision."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from lazyrich._ground import Params, Predictor
from lazyrich.kernels import ntk
from lazyrich.nets import Net
from lazyrich.tasks import TaskData, scale_labels

from ._engine import Inputs, prepare
from ._experiment import Experiment, Scaling, Stop
from ._printed import printed_start

Drawn = dict[tuple[Any, ...], TaskData]
"""Data that was drawn before: runs which share data hold one copy."""


def blueprint(experiment: Experiment) -> Experiment:
    """The experiment with everything set alike that runs in one batch may differ in."""
    net, optimizer, task = experiment.net, experiment.optimizer, experiment.task
    return experiment.model_copy(
        update={
            "task": task.model_copy(
                update={"data_seed": None, "split_seed": None} | dict.fromkeys(task.dials, 1)
            ),
            "net": net.model_copy(update=dict.fromkeys(net.dials, 1.0)),
            "optimizer": optimizer.model_copy(update=dict.fromkeys(optimizer.dials, 1.0)),
            "scaling": Scaling(center=experiment.scaling.center),
            "n_steps": 1,
            "n_saves": 2,
            "save_steps": None,
            "stop": Stop(),
            "seed": 0,
            "printed": None,
        }
    )


def draw(experiment: Experiment, drawn: Drawn) -> Inputs:
    """Data, initial weights and dials of a run.

    Everything is drawn in double precision and rounded, so that runs in single and in
    double precision start from the same numbers.

    Args:
        experiment: what to draw for.
        drawn: data that was drawn before; what is new is added.

    Raises:
        InputError: if the task cannot be drawn, such as for files that are missing.
    """
    net, scaling, seed = experiment.net, experiment.scaling, experiment.seed
    dtype = np.dtype(experiment.precision)
    with jax.enable_x64(True):
        params0, draw_data = _start(experiment)
        key = _identity(experiment)
        if key not in drawn:
            drawn[key] = _rounded(scale_labels(draw_data(), scaling.label_scale), dtype)
    dials = {"alpha": scaling.alpha, "label_scale": scaling.label_scale}
    for part in (net, experiment.optimizer):
        dials |= {name: getattr(part, name) for name in part.dials}
    with jax.enable_x64(experiment.precision == "float64"):
        inputs = Inputs(
            dials={name: jax.numpy.asarray(value, dtype) for name, value in dials.items()},
            params0=_rounded(params0, dtype),
            data=drawn[key],
            key=jax.random.fold_in(jax.random.key(seed), 3),
        )
    return inputs._replace(prepared=_prepared(experiment, inputs, dtype))


def _start(experiment: Experiment) -> tuple[Params, Callable[[], TaskData]]:
    """Initial weights, and what draws the data."""
    net, task, seed = experiment.net, experiment.task, experiment.seed

    def kernel(params: Params, x: Array) -> Array:
        return ntk(_predictor(net), params, x, trace_outputs=True)

    if experiment.printed is not None:
        params0, data = printed_start(
            experiment.printed, task, net, experiment.scaling.weight_scale, kernel
        )
        return params0, lambda: data
    params0 = net.init(
        jax.random.fold_in(jax.random.key(seed), 2),
        n_inputs=task.n_inputs,
        n_outputs=task.n_outputs,
        vocabulary=task.vocabulary,
        weight_scale=experiment.scaling.weight_scale,
    )
    return params0, lambda: task.draw(seed, kernel=lambda x: kernel(params0, x))


@lru_cache(maxsize=32)
def _predictor(net: Net) -> Predictor:
    """The net as a function, the same one for equal nets: its kernel is compiled once."""
    return net.predictor(**{name: getattr(net, name) for name in net.dials})


def _prepared(experiment: Experiment, inputs: Inputs, dtype: np.dtype) -> tuple[Any, ...]:
    """What probes compare with, where that is decomposed: of the rounded inputs, in double."""
    if not any(probe.is_prepared for probe in experiment.probes):
        return (None,) * len(experiment.probes)
    double = inputs._replace(
        dials=_rounded(inputs.dials, np.dtype("float64")),
        params0=_rounded(inputs.params0, np.dtype("float64")),
        data=_rounded(inputs.data, np.dtype("float64")),
    )
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        return _rounded(prepare(blueprint(experiment), double), dtype)


def _identity(experiment: Experiment) -> tuple[Any, ...]:
    """Equal for experiments that have the same data."""
    task, scaling, seed = experiment.task, experiment.scaling, experiment.seed
    shared = (task, scaling.label_scale, experiment.precision, experiment.printed)
    if task.labels_from_kernel:
        return (*shared, experiment.net, scaling.weight_scale, seed)
    if task.data_seed is not None and task.split_seed is not None:
        return shared
    return (*shared, seed)


def _rounded(tree: Any, dtype: np.dtype) -> Any:
    """NumPy copies in the run's precision; whole numbers in 32 bits."""

    def convert(leaf: Any) -> Any:
        array = np.asarray(leaf)
        if np.issubdtype(array.dtype, np.floating):
            return array.astype(dtype)
        return array.astype(np.int32) if np.issubdtype(array.dtype, np.integer) else array

    return jax.tree.map(convert, tree)
