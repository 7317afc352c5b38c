"""What one decomposition of a committee machine's initial kernel gives, for a whole run."""

import threading
from collections import defaultdict
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lazyrich import kernels
from lazyrich.theory import (
    DisplacementMoments,
    WeightMoments,
    committee_kernel,
    committee_output,
    tangent_split,
    weight_moments,
)

from ._committee_program import CommitteeKey
from ._simulation import Inputs

# Descent at this many times more, shorter steps is flow to rounding, in closed form.
_FINER = 2.0**20

# A lock for each kind: threads that trace one kind together do the work twice.
_compiling: defaultdict[tuple[CommitteeKey, tuple[int, ...]], threading.Lock] = defaultdict(
    threading.Lock
)
_compiled: set[tuple[CommitteeKey, tuple[int, ...]]] = set()


def closed_forms(
    key: CommitteeKey, inputs: Inputs, steps: np.ndarray, displaced: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The displacement's split, the linearized network, and kernel regression, in float64.

    Kept out of the batch: decompositions in a batch have hung XLA's CPU threads. The
    quadratic modes that matter lie up to 10⁵ below the top of the spectrum.

    Args:
        key: of the run's program.
        inputs: of the run.
        steps: at which it was measured.
        displaced: what was recorded of the displacement, by the name in ``DisplacementMoments``.
    """
    kind = (key, tuple(int(step) for step in steps))
    with jax.enable_x64(True):
        if kind in _compiled:
            return jax.device_get(_closed_forms(*kind, inputs, displaced))
        with _compiling[kind]:
            found = jax.device_get(_closed_forms(*kind, inputs, displaced))
            _compiled.add(kind)
            return found


@partial(jax.jit, static_argnums=(0, 1))
def _closed_forms(
    key: CommitteeKey, steps: tuple[int, ...], inputs: Inputs, displaced: dict[str, Array]
) -> dict[str, Array]:
    curves = _motion(key, inputs, displaced)
    if not key.is_linearized:
        return curves
    return curves | _linearized(key, inputs, jnp.asarray(np.array(steps)))


def _motion(key: CommitteeKey, inputs: Inputs, displaced: dict[str, Array]) -> dict[str, Array]:
    start = weight_moments(inputs.params0)
    length0 = jnp.sqrt(jnp.trace(start.second_moment))
    if not key.has_split:
        return {"parameter_change": jnp.sqrt(displaced["square"]) / length0}
    double = DisplacementMoments(**{name: part.astype(float) for name, part in displaced.items()})
    split = tangent_split(
        double,
        start,
        inputs.data.x,
        alpha=inputs.hyper.alpha,
        epsilon=inputs.hyper.epsilon,
        width=key.width,
    )
    norm0 = jnp.sqrt(key.width) * length0
    return {
        "parameter_change": jnp.sqrt(displaced["square"]) / length0,
        "change_inside": split.inside / norm0,
        "change_outside": split.outside / norm0,
    }


def _linearized(key: CommitteeKey, inputs: Inputs, steps: Array) -> dict[str, Array]:
    """Losses of the linearized network, and of kernel regression, with the initial kernel."""
    data, hyper = inputs.data, inputs.hyper
    start = weight_moments(inputs.params0)
    scales = {"alpha": hyper.alpha, "epsilon": hyper.epsilon}

    def targets(x: Array, y: Array) -> Array:
        return y if key.center else y - committee_output(start, x, **scales)

    def kernel(x: Array) -> Array:
        return committee_kernel(start, x, data.x, width=key.width, **scales)

    train, test = targets(data.x, data.y), targets(data.x_test, data.y_test)
    train_kernel, query_kernel = kernel(data.x), kernel(data.x_test)
    rate = hyper.learning_rate * key.width / hyper.alpha**2
    finer = _FINER if key.dynamics == "flow" else 1
    linearized = kernels.lazy_dynamics(
        train_kernel,
        train,
        finer * steps,
        learning_rate=rate / finer,
        query_kernel=query_kernel,
        momentum=hyper.momentum if key.has_momentum else 0.0,
    )
    regression = kernels.kernel_regression(train_kernel, train, query_kernel)
    assert linearized.query is not None
    curves = {}
    if key.has_split:
        curves = _linearized_displacement(train_kernel, train, linearized.train, key, start)
    return curves | {
        "linearized_train_loss": jnp.square(linearized.train - train).mean(-1),
        "linearized_test_loss": jnp.square(linearized.query - test).mean(-1),
        # A number without a step, repeated so that it lies beside the curves.
        "kernel_regression_loss": jnp.full(len(steps), jnp.square(regression - test).mean()),
    }


def _linearized_displacement(
    kernel: Array, targets: Array, outputs: Array, key: CommitteeKey, start: WeightMoments
) -> dict[str, Array]:
    """How far the linearized network goes, and how far the fit lies: the difficulty (Eq. 8).

    Outputs f of a linear model on the training points cost its weights √(fᵀK⁺f).
    """
    values, vectors = jnp.linalg.eigh(kernel)
    is_mode = values > len(kernel) * jnp.finfo(values.dtype).eps * values[-1]
    weight = jnp.where(is_mode, 1 / jnp.where(is_mode, values, 1), 0)
    square = (jnp.square(outputs @ vectors) * weight).sum(-1)
    norm0 = jnp.sqrt(key.width * jnp.trace(start.second_moment))
    difficulty = (jnp.square(targets @ vectors) * weight).sum()
    return {
        "linearized_change": jnp.sqrt(square) / norm0,
        "difficulty": jnp.full(len(outputs), difficulty),
    }
