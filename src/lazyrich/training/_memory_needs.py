"""How much memory runs need, from their shapes."""

from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax.extend.core import Jaxpr

from lazyrich._base import Params
from lazyrich.models import Net
from lazyrich.tasks import PolynomialTask, Task, TeacherTask

from ._kernel_metrics import Alignment, KernelMovement, KernelRegression, Linearization

if TYPE_CHECKING:
    from ._committee import CommitteeExperiment
    from ._experiment import Experiment

_DOUBLE = 8
_EACH_SAVE = 2000
"""Bytes that what is measured at one evaluation step takes beside its arrays."""
_KERNEL_COPIES = 3
"""A kernel, what it is compared with, and what a decomposition or a product leaves."""


def network_needs(one: "Experiment") -> Mapping[str, float]:
    """Bytes of an ``Experiment``, by what they are needed for."""
    task, net = one.task, one.net
    size = _DOUBLE if one.precision == "float64" else 4
    n_outputs = task.n_outputs or 1
    n_points = task.n_train + task.n_test
    n_params, per_row = _shapes(net, task.n_inputs, task.n_outputs, task.vocabulary)
    n_learners = 1 + one.linearized
    n_batch = min(one.optimizer.batch_size or task.n_train, task.n_train)
    # At the start, gradient and update, and the optimizer's memory of each learner.
    copies = 1 + n_learners * (3 + one.optimizer.n_state_arrays)
    needs = {
        "the data": n_points * (task.n_inputs + n_outputs) * (_DOUBLE + size),
        "the parameters and the optimizer's memory": n_params * (_DOUBLE + copies * size),
        "the activations of the net": n_learners
        * max(2 * n_batch, task.n_train, task.n_test)
        * per_row
        * size,
        "the records": float(_n_evals(one)) * _EACH_SAVE,
    }
    for metric in one.metrics:
        if isinstance(metric, Alignment | KernelMovement | Linearization):
            n = metric.n_points
            needs[f"the kernel of the metric {metric.kind}"] = (
                _KERNEL_COPIES * n**2 * size + 2 * n * per_row * size
            )
    if any(isinstance(metric, KernelRegression) for metric in one.metrics):
        n = task.n_train * n_outputs
        needs["the kernel of the metric kernel_regression"] = _DOUBLE * (
            n_points * n_outputs * n + _KERNEL_COPIES * n**2
        )
    needs["what makes the labels"] = _DOUBLE * _of_target(task, n_points)
    if task.labels_from_kernel:
        needs["the kernel that makes the labels"] = _DOUBLE * _KERNEL_COPIES * n_points**2
    return {part: float(n_bytes) for part, n_bytes in needs.items()}


def committee_needs(one: "CommitteeExperiment") -> Mapping[str, float]:
    """Bytes of a ``CommitteeExperiment``, by what they are needed for."""
    n_points = one.n_train + one.n_test
    n_evals = _n_evals(one)
    needs = {
        "the data": n_points * one.dim * (_DOUBLE + 4)
        + _DOUBLE * float(one.n_directions) * (one.dim + n_points),
        "the weights": one.width * one.dim * (2 * _DOUBLE + 4),
        "the records": n_evals * (float(_EACH_SAVE) + 4 * one.dim**2),
        "the second moment of the weights": 10.0 * 4 * one.dim**2,
        "the kernel of the probe points": _KERNEL_COPIES * 4 * float(one.n_probe) ** 2,
    }
    if one.linearized or one.has_split:
        needs["the kernel of the training points"] = _DOUBLE * (
            _KERNEL_COPIES * float(one.n_train) ** 2 + float(one.n_test) * one.n_train
        )
    if one.linearized:
        needs["the curves of the linearized network"] = _DOUBLE * float(n_evals) * n_points
    return {part: float(n_bytes) for part, n_bytes in needs.items()}


def _of_target(task: Task, n_points: int) -> float:
    """Numbers in a task's directions or teacher, and in their outputs."""
    if isinstance(task, PolynomialTask):
        return float(task.n_directions) * (task.dim + n_points)
    if not isinstance(task, TeacherTask):
        return 0.0
    sizes = (task.dim, *task.widths, task.target_dim)
    return float(sum(a * b for a, b in pairwise(sizes)) + n_points * max(sizes))


def _n_evals(one: "Experiment | CommitteeExperiment") -> int:
    given = getattr(one, "eval_steps", None)
    return len(given) + 2 if given is not None else min(one.n_evals, one.n_steps + 1)


@lru_cache(maxsize=256)
def _shapes(
    net: Net, n_inputs: int, n_outputs: int | None, vocabulary: int | None
) -> tuple[float, float]:
    """Numbers in the parameters, and in the products that one more row adds."""
    start = partial(net.init, n_inputs=n_inputs, n_outputs=n_outputs, vocabulary=vocabulary)
    params = jax.eval_shape(start, jax.eval_shape(lambda: jax.random.key(0)))
    n_params = sum(float(np.prod(leaf.shape, dtype=float)) for leaf in jax.tree.leaves(params))
    dtype = np.dtype("float32" if vocabulary is None else "int32")
    # Between sizes at which a net may go another way.
    few, more = (
        _n_computed(net, params, jax.ShapeDtypeStruct((n, n_inputs), dtype)) for n in (2**20, 2**21)
    )
    return n_params, max(0.0, more - few) / 2**20


def _n_computed(net: Net, params: Params, x: jax.ShapeDtypeStruct) -> float:
    traced = jax.make_jaxpr(net.predictor())(params, x)
    return sum(_sizes(traced.jaxpr))


def _sizes(program: Jaxpr) -> Iterator[float]:
    for equation in program.eqns:
        inner = [p for p in equation.params.values() if hasattr(p, "jaxpr")]
        yield from (size for part in inner for size in _sizes(part.jaxpr))
        # What follows a product point by point is computed as it is read.
        if equation.primitive.name in ("dot_general", "gather"):
            shapes = (getattr(v.aval, "shape", ()) for v in equation.outvars)
            yield from (float(np.prod(shape, dtype=float)) for shape in shapes)
