"""How a network is trained and measured: the program of an ``Experiment``."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from lazyrich._base import Params, Predictor
from lazyrich.kernels import linearize
from lazyrich.models import Net, scale_output, scaled_output
from lazyrich.tasks import Task

from . import methods
from ._losses import accuracy, cross_entropy, mean_squared_error
from ._metric import Metric, Snapshot
from ._optimizers import Optimizer
from ._simulation import Inputs, Program

_LOSSES = {"mse": mean_squared_error, "cross_entropy": cross_entropy}


class NetworkKey(NamedTuple):
    """What decides the compiled program of a network's training, and its shapes.

    Attributes:
        task: with what changes only the numbers set alike.
        net: likewise.
        optimizer: likewise.
        loss: "mse" or "cross_entropy".
        metrics: what is recorded.
        center: whether the output at θ₀ is subtracted.
        is_linearized: whether the linearized network is trained alongside.
        precision: of parameters and data.
        objective: what a step descends, with what changes only the numbers set alike.
    """

    task: Task
    net: Net
    optimizer: Optimizer
    loss: str
    metrics: tuple[Metric, ...]
    center: bool
    is_linearized: bool
    precision: str
    objective: methods.Objective = methods.Plain()


class Constants(NamedTuple):
    """What is computed once from the inputs.

    Attributes:
        offsets: f(θ₀) on the training and test points; None if nothing is subtracted.
        references: what each metric compares with, in the order of the metrics.
    """

    offsets: tuple[Array, Array] | None
    references: tuple[PyTree, ...]


class Learner(NamedTuple):
    """Parameters and the optimizer's memory, of the network or of its linearization."""

    params: Params
    memory: optax.OptState


class State(NamedTuple):
    """What changes from step to step; with the step number, all that a run needs to go on.

    Attributes:
        learners: the network under "", and the linearized one under "linearized_" if there is one.
        order: of the training points in this pass; None if every step takes all.
    """

    learners: dict[str, Learner]
    order: Int[Array, " n"] | None


def network_program(key: NetworkKey) -> Program:
    """The functions that train and measure every network of this key."""
    return Program(
        init=partial(_init, key),
        advance=partial(_advance, key),
        measure=partial(_measure, key),
        params=lambda inputs, state, step: state.learners[""].params,
    )


def _predictors(key: NetworkKey, inputs: Inputs) -> dict[str, Predictor]:
    """The network, and the linearized one if asked for, neither scaled nor centred."""
    net = key.net.predictor(**inputs.hyper.net._asdict())
    if not key.is_linearized:
        return {"": net}
    return {"": net, "linearized_": linearize(net, inputs.params0)}


def _init(key: NetworkKey, inputs: Inputs) -> tuple[Constants, State]:
    memory = key.optimizer.transformation(inputs.hyper).init(inputs.params0)
    order = None
    if key.optimizer.batch_size is not None:
        order = _order(inputs, jnp.asarray(0))
    learners = {name: Learner(inputs.params0, memory) for name in _predictors(key, inputs)}
    offsets, start = _first(key, inputs)
    references = tuple(
        given if metric.is_prepared else metric.reference(start)
        for metric, given in zip(key.metrics, inputs.references, strict=True)
    )
    return Constants(offsets, references), State(learners, order)


@partial(jax.jit, static_argnums=0)
def prepared_references(key: NetworkKey, inputs: Inputs) -> tuple[PyTree, ...]:
    """The references that are computed before any batch; None for the other metrics."""
    _, start = _first(key, inputs)
    return tuple(metric.reference(start) if metric.is_prepared else None for metric in key.metrics)


def _first(key: NetworkKey, inputs: Inputs) -> tuple[tuple[Array, Array] | None, Snapshot]:
    """What is subtracted from the outputs, and the run at step 0."""
    net, params0, data = _predictors(key, inputs)[""], inputs.params0, inputs.data
    offsets = None
    if key.center:
        offsets = (net(params0, data.x), net(params0, data.x_test))
    outputs = _outputs(net, inputs, params0, offsets)
    return offsets, _snapshot(key, inputs, params0, outputs)


def _outputs(
    predict: Predictor, inputs: Inputs, params: Params, offsets: tuple[Array, Array] | None
) -> list[Array]:
    """The scaled outputs on the training and on the test points."""
    return [
        scaled_output(predict(params, x), inputs.hyper.alpha, offset)
        for x, offset in zip(
            (inputs.data.x, inputs.data.x_test), offsets or (None, None), strict=True
        )
    ]


def _order(inputs: Inputs, epoch: Int[Array, ""]) -> Int[Array, " n"]:
    key = jax.random.fold_in(inputs.key, epoch)
    return jax.random.permutation(key, len(inputs.data.x)).astype(jnp.int32)


def _advance(
    key: NetworkKey,
    inputs: Inputs,
    constants: Constants,
    state: State,
    first_step: Int[Array, ""],
    n_steps: Int[Array, ""],
) -> State:
    predictors = _predictors(key, inputs)
    optimizer = key.optimizer.transformation(inputs.hyper)
    batch_size = key.optimizer.batch_size or len(inputs.data.x)
    n_batches = len(inputs.data.x) // batch_size

    def batch(order: Array | None, step: Array) -> tuple[Array, Array, Array | None]:
        offset = None if constants.offsets is None else constants.offsets[0]
        if order is None:
            return inputs.data.x, inputs.data.y, offset
        rows = jax.lax.dynamic_slice(order, ((step % n_batches) * batch_size,), (batch_size,))
        return inputs.data.x[rows], inputs.data.y[rows], None if offset is None else offset[rows]

    def one_step(step: Array, state: State) -> State:
        order = state.order
        if order is not None:
            # Every run is at the same step, so this stays a branch under vmap.
            is_new = (step % n_batches == 0) & (step > 0)
            epoch = step // n_batches
            order = jax.lax.cond(is_new, lambda: _order(inputs, epoch), lambda: state.order)
        points = batch(order, step)
        learners = {}
        for name, (params, memory) in state.learners.items():
            loss = _batch_loss(key, inputs, predictors[name], points, step=step)
            if key.optimizer.needs_loss:
                value, gradient = jax.value_and_grad(loss)(params)
                told = {"value": value}
            else:
                gradient, told = jax.grad(loss)(params), {}
            updates, memory = optimizer.update(gradient, memory, params, **told)
            learners[name] = Learner(optax.apply_updates(params, updates), memory)
        return State(learners, order)

    return jax.lax.fori_loop(first_step, first_step + n_steps, one_step, state)


def _batch_loss(
    key: NetworkKey,
    inputs: Inputs,
    predict: Predictor,
    points: tuple[Array, Array, Array | None],
    *,
    step: Array,
) -> Callable[[Params], Array]:
    x, y, offset = points
    # A stream of its own, beside that of the order of the rows.
    random = jax.random.fold_in(jax.random.fold_in(inputs.key, 2**31), step)

    def loss(params: Params) -> Array:
        def outputs(x: Array) -> Array:
            return scaled_output(predict(params, x), inputs.hyper.alpha, offset)

        batch = methods.Batch(outputs, x, y, _LOSSES[key.loss], random)
        return key.objective.value(batch, inputs.hyper.objective)

    return loss


def _measure(
    key: NetworkKey, inputs: Inputs, constants: Constants, state: State, step: Int[Array, ""]
) -> tuple[dict[str, Array], Snapshot]:
    del step
    loss, labels = _LOSSES[key.loss], (inputs.data.y, inputs.data.y_test)
    records: dict[str, Array] = {}
    outputs: dict[str, list[Array]] = {}
    for name, predict in _predictors(key, inputs).items():
        params = state.learners[name].params
        outputs[name] = _outputs(predict, inputs, params, constants.offsets)
        for part, output, targets in zip(("train", "test"), outputs[name], labels, strict=True):
            records[f"{name}{part}_loss"] = loss(output, targets)
            if key.task.labels == "classes":
                records[f"{name}{part}_accuracy"] = accuracy(output, targets)
    snapshot = _snapshot(key, inputs, state.learners[""].params, outputs[""])
    for metric, reference in zip(key.metrics, constants.references, strict=True):
        records |= metric.measure(snapshot, reference)
    return records, snapshot


def _snapshot(key: NetworkKey, inputs: Inputs, params: Params, outputs: list[Array]) -> Snapshot:
    net, alpha = _predictors(key, inputs)[""], inputs.hyper.alpha
    predict = scale_output(net, inputs.params0, alpha, center=key.center)
    return Snapshot(
        predict, params, inputs.params0, inputs.data, *outputs, inputs.hyper, center=key.center
    )
