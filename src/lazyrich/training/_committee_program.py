"""The program of a ``CommitteeExperiment``: exact dynamics of the rows, and what is measured."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, ScalarLike

from lazyrich import kernels
from lazyrich.tasks import TaskData
from lazyrich.theory import (
    DescentSteps,
    DynamicHyperparameters,
    EmpiricalLoss,
    FlowSteps,
    WeightMoments,
    committee_kernel,
    committee_output,
    displacement_moments,
    equivalent_weights,
    loss_terms,
    moment_change,
    population_alignment,
    population_centered_alignment,
    weight_moments,
)

from ._simulation import Inputs, Program

_FLOW_RTOL = 1e-3
"""Relative tolerance of a solver step, on the displacement of the rows."""


class CommitteeHyperparameters(NamedTuple):
    """Dynamic hyperparameters of a committee machine's training, in double precision.

    Attributes:
        alpha: α, output scale.
        epsilon: ε, quadratic strength of the activation.
        learning_rate: η₀ in units of N/α²; of a flow, the flow time of one step.
        momentum: μ of heavy-ball descent.
        label_scale: s, factor of every label.
        n_steps: the last step.

    Example:
        >>> hyper = CommitteeHyperparameters(10.0, 0.5, 0.1, 0.0, 1.0, 1000)
        >>> hyper.alpha, hyper.n_steps
        (10.0, 1000)
    """

    alpha: ScalarLike
    epsilon: ScalarLike
    learning_rate: ScalarLike
    momentum: ScalarLike
    label_scale: ScalarLike
    n_steps: ScalarLike


class CommitteeKey(NamedTuple):
    """What decides the compiled program of a committee machine's run, and its shapes.

    Attributes:
        sizes: dim, n_train, n_test, n_directions.
        width: N; scales the kernel, the rows are at most dim + 1.
        dynamics: "descent" or "flow".
        has_momentum: whether descent has any.
        center: whether the output at the start is subtracted.
        n_probe: test points on which the kernel is measured.
        has_printed_alignment: whether the alignment is also recorded as Figure 1(c) has it.
        has_split: whether the displacement is recorded as ``tangent_split`` needs it.
        is_linearized: whether the linearized network is recorded.
        precision: of the loop.
    """

    sizes: tuple[int, int, int, int]
    width: int
    dynamics: Literal["descent", "flow"]
    has_momentum: bool
    center: bool
    n_probe: int
    has_printed_alignment: bool
    has_split: bool
    is_linearized: bool
    precision: str


class CommitteeSnapshot(NamedTuple):
    """A committee machine at one evaluation, as user-defined metrics see it.

    Attributes:
        statistics: w̄ and M now.
        start: those at the start.
        data: training and test points, in the precision of the loop.
        hyper: α, ε and the like.

    Example:
        >>> def second_moment_trace(now):  # a metric: train(experiment, metrics={"trace": ...})
        ...     return jnp.trace(now.statistics.second_moment)
        >>> moments = WeightMoments(jnp.zeros(2), jnp.eye(2))
        >>> float(second_moment_trace(CommitteeSnapshot(moments, moments, None, None)))
        2.0
    """

    statistics: WeightMoments
    start: WeightMoments
    data: TaskData
    hyper: CommitteeHyperparameters


class Constants(NamedTuple):
    """What is computed once, in the precision of the loop.

    Attributes:
        data: training and test points.
        hyper: α, ε and the like.
        start: w̄ and M of the initial weights.
        rows: the weights that move, those of the equivalent machine.
        kernel: the initial tangent kernel on the probe inputs; None if none is measured.
        gradient: of the train loss on the rows, from their displacement, in the precision of
            the flow's solver; None for descent, which makes many steps in a call.
    """

    data: TaskData
    hyper: CommitteeHyperparameters
    start: WeightMoments
    rows: Array
    kernel: Array | None
    gradient: Callable[[Array], Array] | None


def committee_program(key: CommitteeKey) -> Program:
    """The functions that make every run of this key."""
    return Program(
        init=partial(_init, key),
        advance=partial(_advance, key),
        measure=partial(_measure, key),
        params=partial(_params, key),
    )


def _init(key: CommitteeKey, inputs: Inputs) -> tuple[Constants, PyTree]:
    data, weights, hyper = jax.tree.map(lambda a: a.astype(key.precision), tuple(inputs)[:3])
    start = weight_moments(weights)
    width, dim = weights.shape
    rows = weights if width <= dim + 1 else equivalent_weights(start)
    kernel = _kernel(key, hyper, start, data) if key.n_probe else None
    constants = Constants(data, hyper, start, rows, kernel, None)
    if key.dynamics == "flow":
        precision = inputs.hyper.learning_rate.dtype
        gradient = jax.tree.map(lambda a: a.astype(precision), _gradient(key, constants))
        constants = constants._replace(gradient=gradient)
    return constants, _dynamics(key, inputs, constants).start()


def _gradient(key: CommitteeKey, constants: Constants) -> Callable[[Array], Array]:
    hyper, data = constants.hyper, constants.data
    return EmpiricalLoss(data.x, data.y).gradient_from(
        constants.rows, alpha=hyper.alpha, epsilon=hyper.epsilon, centered=key.center
    )


def _dynamics(key: CommitteeKey, inputs: Inputs, constants: Constants) -> DescentSteps | FlowSteps:
    hyper, rows = constants.hyper, constants.rows
    gradient = constants.gradient or _gradient(key, constants)
    if key.dynamics == "descent":
        rate = DynamicHyperparameters(hyper.alpha, hyper.epsilon, hyper.learning_rate).rate
        return DescentSteps(rows, gradient, rate, hyper.momentum if key.has_momentum else None)
    pace = jnp.divide(2, hyper.alpha)
    tolerance = jnp.asarray(_FLOW_RTOL)
    # Times are in double precision, whatever that of the start.
    time = inputs.hyper.learning_rate
    return FlowSteps(
        rows,
        lambda displacements: -pace * gradient(displacements),
        time,
        time * inputs.hyper.n_steps,
        rtol=tolerance,
        # A displacement counts as zero far below what the target asks of it, about 1/α.
        atol=1e-2 * tolerance / hyper.alpha,
    )


def _advance(
    key: CommitteeKey,
    inputs: Inputs,
    constants: Constants,
    state: PyTree,
    first: ScalarLike,
    n_steps: ScalarLike,
) -> PyTree:
    return _dynamics(key, inputs, constants).advance(state, first, n_steps)


def _params(key: CommitteeKey, inputs: Inputs, state: PyTree, step: ScalarLike) -> WeightMoments:
    constants, _ = _init(key, inputs)
    displacements = _dynamics(key, inputs, constants).displacement(state, step)
    return _weight_moments(constants, displacements)[1]


def _weight_moments(
    constants: Constants, displacements: Array
) -> tuple[WeightMoments, WeightMoments]:
    """The displacement of w̄ and M, and w̄ and M; infinite where the solver has given up."""
    change = moment_change(constants.rows, displacements)
    return change, jax.tree.map(jnp.add, constants.start, change)


def _kernel(
    key: CommitteeKey, hyper: CommitteeHyperparameters, stats: WeightMoments, data: TaskData
) -> Array:
    x = data.x_test[: key.n_probe]
    return committee_kernel(stats, x=x, width=key.width, alpha=hyper.alpha, epsilon=hyper.epsilon)


def _measure(
    key: CommitteeKey, inputs: Inputs, constants: Constants, state: PyTree, step: ScalarLike
) -> tuple[dict[str, Array], CommitteeSnapshot]:
    """Everything that the weight moments decide; a diverged run is measured as it is."""
    data, hyper, start, rows, *_ = constants
    dynamics = _dynamics(key, inputs, constants)
    displacements = dynamics.displacement(state, step)
    change, stats = _weight_moments(constants, displacements)
    scales = {"alpha": hyper.alpha, "epsilon": hyper.epsilon}
    seen = change if key.center else stats
    records = {"train_loss": EmpiricalLoss(data.x, data.y).loss(seen, **scales)}
    records |= _of_test_points(key, constants, stats)
    records |= _of_target(key, constants, stats)
    displacement = displacement_moments(rows, displacements)
    records |= {
        f"displacement/{name}": part
        for name, part in displacement._asdict().items()
        if key.has_split
    }
    records |= {"displacement/square": displacement.square}
    if isinstance(dynamics, FlowSteps):
        records["flow/is_reached"] = dynamics.is_reached(state, step)
    return records, CommitteeSnapshot(stats, start, data, hyper)


def _of_test_points(
    key: CommitteeKey, constants: Constants, stats: WeightMoments
) -> dict[str, Array]:
    data, hyper, start, _, kernel0, _ = constants
    scales = {"alpha": hyper.alpha, "epsilon": hyper.epsilon}
    seen = jax.tree.map(jnp.subtract, stats, start) if key.center else stats
    squares = jnp.square(committee_output(seen, data.x_test, **scales) - data.y_test)
    beta = data.target[0]
    measured = {
        "test_loss": squares.mean(),
        "test_loss_error": squares.std() / jnp.sqrt(len(squares)),
        "weight_norm": jnp.sqrt(key.width * jnp.trace(stats.second_moment)),
        "target_moment": beta @ stats.second_moment @ beta / (beta @ beta),
    }
    if kernel0 is None:
        return measured
    now, y = _kernel(key, hyper, stats, data), data.y_test[: key.n_probe]
    measured["alignment"] = kernels.alignment(now, y)
    measured["chance_alignment"] = kernels.chance_alignment(now)
    measured["debiased_alignment"] = kernels.debiased_alignment(now, y)
    if key.has_printed_alignment:
        measured["printed_alignment"] = kernels.column_centered_alignment(now, y - y.mean())
    measured["kernel_distance"] = kernels.kernel_distance(kernel0, now)
    return measured


def _of_target(key: CommitteeKey, constants: Constants, stats: WeightMoments) -> dict[str, Array]:
    """Exact means over all inputs."""
    data, hyper, start, *_ = constants
    directions = data.target * jnp.sqrt(hyper.label_scale)
    terms = loss_terms(
        stats,
        directions,
        alpha=hyper.alpha,
        epsilon=hyper.epsilon,
        start=start if key.center else None,
    )
    curves = {f"{name}_term": term for name, term in terms._asdict().items()}
    for alignment in (population_alignment, population_centered_alignment):
        found = alignment(stats, directions, epsilon=hyper.epsilon)
        curves[alignment.__name__] = found.ratio
    return curves


COMMITTEE_RECORDS = frozenset(
    {
        "test_loss_error",
        "weight_norm",
        "target_moment",
        "printed_alignment",
        "population_alignment",
        "population_centered_alignment",
        "change_inside",
        "change_outside",
        "linearized_change",
    }
)
"""Names of records that a network's run may not have."""
