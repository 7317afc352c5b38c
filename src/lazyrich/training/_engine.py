"""The compiled parts of a run: its start, some steps, and what is seen in between."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int, PRNGKeyArray, Shaped

from lazyrich._ground import Params, Predictor
from lazyrich.kernels import linearize
from lazyrich.nets import centred, scale_output
from lazyrich.tasks import TaskData

from ._experiment import Experiment
from ._losses import accuracy, cross_entropy, mean_squared_error
from ._probes import Snapshot, Twin

_LOSSES = {"mse": mean_squared_error, "cross_entropy": cross_entropy}

Measure = Callable[[Snapshot], Array]
"""A probe of one's own: one array from a snapshot."""


class Inputs(NamedTuple):
    """What may differ between runs that share one compilation.

    Attributes:
        dials: numbers by the name of their field: ``alpha``, ``learning_rate``, ….
        params0: θ₀.
        data: in the run's precision, labels scaled.
        key: of the order of batches.
        prepared: references of the probes that are prepared, None for the others.
    """

    dials: dict[str, Array]
    params0: Params
    data: TaskData
    key: PRNGKeyArray
    prepared: tuple[Any, ...] = ()


class Fixed(NamedTuple):
    """What is computed once from the inputs.

    Attributes:
        offsets: f(θ₀) on the training and test points; None if nothing is subtracted.
        references: what each probe compares with, in the order of the probes.
    """

    offsets: tuple[Array, Array] | None
    references: tuple[Any, ...]


class Learner(NamedTuple):
    """Parameters and the optimizer's memory, of the net or of its twin."""

    params: Params
    memory: optax.OptState


class State(NamedTuple):
    """What changes from step to step; with the step number, all that a run needs to go on.

    Attributes:
        learners: the net under "", and the twin under "twin_" if there is one.
        order: of the training points in this pass; None if every step takes all.
    """

    learners: dict[str, Learner]
    order: Int[Array, " n"] | None


class Program(NamedTuple):
    """Compiled functions of one run, or of a batch of runs with a leading axis.

    Attributes:
        start: inputs → (fixed, state).
        advance: (inputs, fixed, state, is_active, first_step, n_steps) → state; a run that
            is not active stays as it is.
        observe: (inputs, fixed, state) → measured quantities by name.
    """

    start: Callable[..., tuple[Fixed, State]]
    advance: Callable[..., State]
    observe: Callable[..., dict[str, Array]]


@lru_cache(maxsize=32)
def program(
    blueprint: Experiment, measures: tuple[tuple[str, Measure], ...], batch: str
) -> Program:
    """The compiled functions for experiments with this blueprint.

    Args:
        blueprint: an experiment whose dials, task and seeds are not read.
        measures: probes of one's own, by name.
        batch: "one" run; "runs" with a leading axis, each with its own data; or "shared",
            runs with a leading axis on one set of data.
    """
    start = partial(_start, blueprint)
    advance = partial(_advance, blueprint)
    observe = partial(_observe, blueprint, measures)
    if batch != "one":
        data = 0 if batch == "runs" else None
        inputs: Any = Inputs(0, 0, data, 0, 0)  # ty: ignore[invalid-argument-type]
        start = jax.vmap(start, in_axes=(inputs,))
        advance = jax.vmap(advance, in_axes=(inputs, 0, 0, 0, None, None))
        observe = jax.vmap(observe, in_axes=(inputs, 0, 0))
    # GPUs would round float32 products to TF32.
    precise = jax.default_matmul_precision("highest")
    return Program(
        jax.jit(precise(start)),
        jax.jit(precise(advance), donate_argnums=(2,)),
        jax.jit(precise(observe)),
    )


def _predictors(blueprint: Experiment, inputs: Inputs) -> dict[str, Predictor]:
    """The net, and its linearised twin if asked for, neither scaled nor centred."""
    dials = {name: inputs.dials[name] for name in blueprint.net.dials}
    net = blueprint.net.predictor(**dials)
    if not any(isinstance(probe, Twin) for probe in blueprint.probes):
        return {"": net}
    return {"": net, "twin_": linearize(net, inputs.params0)}


def _optimizer(blueprint: Experiment, inputs: Inputs) -> optax.GradientTransformation:
    return blueprint.optimizer.transformation(inputs.dials["alpha"], inputs.dials)


def _start(blueprint: Experiment, inputs: Inputs) -> tuple[Fixed, State]:
    predictors = _predictors(blueprint, inputs)
    params0 = inputs.params0
    memory = _optimizer(blueprint, inputs).init(params0)
    order = None
    if blueprint.optimizer.batch_size is not None:
        order = _order(inputs, jnp.asarray(0))
    state = State({name: Learner(params0, memory) for name in predictors}, order)
    offsets, snapshot = _first(blueprint, inputs)
    references = tuple(
        known if probe.is_prepared else probe.reference(snapshot)
        for probe, known in zip(blueprint.probes, inputs.prepared, strict=True)
    )
    return Fixed(offsets, references), state


@partial(jax.jit, static_argnums=0)
def prepare(blueprint: Experiment, inputs: Inputs) -> tuple[Any, ...]:
    """The references that are computed before any batch; None for the other probes."""
    _, snapshot = _first(blueprint, inputs)
    return tuple(
        probe.reference(snapshot) if probe.is_prepared else None for probe in blueprint.probes
    )


def _first(blueprint: Experiment, inputs: Inputs) -> tuple[tuple[Array, Array] | None, Snapshot]:
    """What is subtracted from the outputs, and the run at step 0."""
    net, params0, data = _predictors(blueprint, inputs)[""], inputs.params0, inputs.data
    offsets = None
    if blueprint.scaling.center:
        offsets = (net(params0, data.x), net(params0, data.x_test))
    outputs = [_scaled(net, inputs, half, offsets)(params0) for half in (0, 1)]
    return offsets, _snapshot(blueprint, inputs, params0, outputs)


def _scaled(
    predict: Predictor, inputs: Inputs, half: int, offsets: tuple[Array, Array] | None
) -> Callable[[Params], Array]:
    """The scaled outputs on the training (0) or test (1) points."""
    x = (inputs.data.x, inputs.data.x_test)[half]

    def outputs(params: Params) -> Array:
        found = predict(params, x)
        return inputs.dials["alpha"] * (found if offsets is None else centred(found, offsets[half]))

    return outputs


def _order(inputs: Inputs, epoch: Int[Array, ""]) -> Int[Array, " n"]:
    key = jax.random.fold_in(inputs.key, epoch)
    return jax.random.permutation(key, len(inputs.data.x)).astype(jnp.int32)


def _advance(
    blueprint: Experiment,
    inputs: Inputs,
    fixed: Fixed,
    state: State,
    is_active: Bool[Array, ""],
    first_step: Int[Array, ""],
    n_steps: Int[Array, ""],
) -> State:
    predictors = _predictors(blueprint, inputs)
    optimizer = _optimizer(blueprint, inputs)
    loss = _LOSSES[blueprint.loss]
    alpha = inputs.dials["alpha"]
    batch_size = blueprint.optimizer.batch_size or len(inputs.data.x)
    n_batches = len(inputs.data.x) // batch_size

    def batch(order: Array | None, step: Array) -> tuple[Array, Array, Array | None]:
        offset = None if fixed.offsets is None else fixed.offsets[0]
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
        x, y, offset = batch(order, step)
        learners = {}
        for name, (params, memory) in state.learners.items():

            def batch_loss(params: Params, predict: Predictor = predictors[name]) -> Array:
                found = predict(params, x)
                return loss(alpha * (found if offset is None else centred(found, offset)), y)

            updates, memory = optimizer.update(jax.grad(batch_loss)(params), memory, params)
            learners[name] = Learner(optax.apply_updates(params, updates), memory)
        return State(learners, order)

    after = jax.lax.fori_loop(first_step, first_step + n_steps, one_step, state)
    return jax.tree.map(partial(jnp.where, is_active), after, state)


def _observe(
    blueprint: Experiment,
    measures: tuple[tuple[str, Measure], ...],
    inputs: Inputs,
    fixed: Fixed,
    state: State,
) -> dict[str, Shaped[Array, "..."]]:
    loss, labels = _LOSSES[blueprint.loss], (inputs.data.y, inputs.data.y_test)
    seen: dict[str, Array] = {}
    kept: dict[str, list[Array]] = {}
    for name, predict in _predictors(blueprint, inputs).items():
        params = state.learners[name].params
        outputs = [_scaled(predict, inputs, half, fixed.offsets)(params) for half in (0, 1)]
        kept[name] = outputs
        for part, found, wanted in zip(("train", "test"), outputs, labels, strict=True):
            seen[f"{name}{part}_loss"] = loss(found, wanted)
            if blueprint.task.labels == "classes":
                seen[f"{name}{part}_accuracy"] = accuracy(found, wanted)
    snapshot = _snapshot(blueprint, inputs, state.learners[""].params, kept[""])
    for probe, reference in zip(blueprint.probes, fixed.references, strict=True):
        seen |= probe.measure(snapshot, reference)
    return seen | {name: measure(snapshot) for name, measure in measures}


def _snapshot(
    blueprint: Experiment, inputs: Inputs, params: Params, outputs: list[Array]
) -> Snapshot:
    center, alpha = blueprint.scaling.center, inputs.dials["alpha"]
    net = _predictors(blueprint, inputs)[""]
    predict = scale_output(net, inputs.params0, alpha, center=center)
    return Snapshot(
        predict, params, inputs.params0, inputs.data, *outputs, inputs.dials, center=center
    )
