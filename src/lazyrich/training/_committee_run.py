"""What one exact run of the committee machine computes and measures."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lazyrich import kernels
from lazyrich.tasks import TaskData
from lazyrich.theory import (
    Dials,
    EmpiricalLoss,
    Motion,
    Statistics,
    Trajectory,
    committee_kernel,
    committee_output,
    gradient_descent,
    gradient_flow,
    loss_terms,
    population_alignment,
    population_centered_alignment,
    statistics,
    tangent_split,
)

# Descent at this many times more, shorter steps is flow to rounding, in the twin's closed form.
_FINER = 2.0**20

UNITS = dict.fromkeys(
    (
        *("train_loss", "test_loss", "test_loss_error", "kernel_regression_loss"),
        *("twin_train_loss", "twin_test_loss"),
        *("variance_term", "misalignment_term", "linear_term"),
    ),
    "label units²",
)
"""Units of the records that have one."""


class Inputs(NamedTuple):
    """Everything a run starts from, in double precision."""

    data: TaskData
    weights: Array
    dials: dict[str, Array]


class Outcome(NamedTuple):
    """What the loop of one run leaves: curves, the last w̄ and M, the status, the motion."""

    curves: dict[str, Array]
    last: Statistics
    status: Array
    gone: Any


def _one(plan: Any, inputs: Inputs) -> Outcome:
    rounded: Any = jax.tree.map(lambda a: a.astype(plan.precision), inputs)
    run = _trajectory(plan, rounded)
    # A diverged run is measured as it is: what is not finite stays not finite.
    curves = {"train_loss": run.train_loss} | _measure(plan, rounded, run.observed)
    return Outcome(curves, jax.tree.map(lambda a: a[-1], run.observed), run.status, run.motion)


run_one = partial(jax.jit, static_argnums=0)(_one)


@partial(jax.jit, static_argnums=0)
def run_together(plan: Any, inputs: Inputs) -> Outcome:
    """Runs of one plan in one batch."""
    return jax.vmap(lambda one: _one(plan, one))(inputs)


@partial(jax.jit, static_argnums=0)
def closed_forms(plan: Any, inputs: Inputs, gone: Any) -> dict[str, Array]:
    """What decompositions of the initial kernel give, in float64: motion, twin, regression.

    Kept out of the batch: decompositions in a batch have hung XLA's CPU threads.
    """
    curves = _motion(plan, inputs, gone)
    return curves | _twin(plan, inputs, jnp.asarray(plan.plan)) if plan.has_twin else curves


def _trajectory(plan: Any, inputs: Inputs) -> Trajectory:
    dials = inputs.dials
    objective = EmpiricalLoss(inputs.data.x, inputs.data.y)
    observe_motion = _itself if plan.has_split else _length
    if plan.dynamics == "flow":
        return gradient_flow(
            inputs.weights,
            objective,
            dials=Dials(dials["alpha"], dials["epsilon"]),
            save_t=plan.learning_rate * plan.plan,
            centered=plan.center,
            observe_motion=observe_motion,
        )
    momentum = dials["momentum"] if plan.momentum else 0.0
    return gradient_descent(
        inputs.weights,
        objective,
        dials=Dials(dials["alpha"], dials["epsilon"], dials["learning_rate"], momentum),
        save_steps=plan.plan,
        centered=plan.center,
        observe_motion=observe_motion,
    )


def _itself(gone: Motion) -> Motion:
    return gone


def _length(gone: Motion) -> Array:
    return gone.square


def _measure(plan: Any, inputs: Inputs, history: Statistics) -> dict[str, Array]:
    """Everything that the statistics at the records decide."""
    data, dials = inputs.data, inputs.dials
    start = statistics(inputs.weights)
    scales = {"alpha": dials["alpha"], "epsilon": dials["epsilon"]}
    x, y = data.x_test[: plan.n_probe], data.y_test[: plan.n_probe]
    kernel = partial(committee_kernel, x=x, width=plan.width, **scales)
    kernel0 = kernel(start) if plan.n_probe else None
    beta = data.target[0]

    def at(stats: Statistics) -> dict[str, Array]:
        seen = jax.tree.map(jnp.subtract, stats, start) if plan.center else stats
        squares = jnp.square(committee_output(seen, data.x_test, **scales) - data.y_test)
        measured = {
            "test_loss": squares.mean(),
            "test_loss_error": squares.std() / jnp.sqrt(len(squares)),
            "weight_norm": jnp.sqrt(plan.width * jnp.trace(stats.second_moment)),
            "target_moment": beta @ stats.second_moment @ beta / (beta @ beta),
        }
        if kernel0 is not None:
            now = kernel(stats)
            measured["alignment"] = kernels.alignment(now, y)
            measured["chance_alignment"] = kernels.chance_alignment(now)
            measured["debiased_alignment"] = kernels.debiased_alignment(now, y)
            if plan.has_printed_alignment:
                measured["printed_alignment"] = kernels.column_centered_alignment(now, y - y.mean())
            measured["kernel_distance"] = kernels.kernel_distance(kernel0, now)
        return measured

    curves = jax.lax.map(at, history)
    directions = data.target * jnp.sqrt(dials["label_scale"])
    terms = loss_terms(history, directions, start=start if plan.center else None, **scales)
    curves |= {f"{name}_term": term for name, term in terms._asdict().items()}
    for alignment in (population_alignment, population_centered_alignment):
        found = alignment(history, directions, epsilon=dials["epsilon"])
        curves[alignment.__name__] = found.ratio
    return curves


def _motion(plan: Any, inputs: Inputs, gone: Any) -> dict[str, Array]:
    start = statistics(inputs.weights)
    length0 = jnp.sqrt(jnp.trace(start.second_moment))
    if not plan.has_split:
        return {"parameter_change": jnp.sqrt(gone) / length0}
    double = jax.tree.map(lambda a: a.astype(float), gone)
    split = tangent_split(
        double,
        start,
        inputs.data.x,
        alpha=inputs.dials["alpha"],
        epsilon=inputs.dials["epsilon"],
        width=plan.width,
    )
    norm0 = jnp.sqrt(plan.width) * length0
    return {
        "parameter_change": jnp.sqrt(gone.square) / length0,
        "change_inside": split.inside / norm0,
        "change_outside": split.outside / norm0,
    }


def _twin(plan: Any, inputs: Inputs, steps: Array) -> dict[str, Array]:
    """Losses of the linearised twin, and of kernel regression, with the initial kernel."""
    data, dials = inputs.data, inputs.dials
    start = statistics(inputs.weights)
    scales = {"alpha": dials["alpha"], "epsilon": dials["epsilon"]}

    def wanted(x: Array, y: Array) -> Array:
        return y if plan.center else y - committee_output(start, x, **scales)

    def kernel(x: Array) -> Array:
        return committee_kernel(start, x, data.x, width=plan.width, **scales)

    train, test = wanted(data.x, data.y), wanted(data.x_test, data.y_test)
    train_kernel, query_kernel = kernel(data.x), kernel(data.x_test)
    rate = dials["learning_rate"] * plan.width / dials["alpha"] ** 2
    finer = _FINER if plan.dynamics == "flow" else 1
    twin = kernels.lazy_dynamics(
        train_kernel,
        train,
        finer * steps,
        learning_rate=rate / finer,
        query_kernel=query_kernel,
        momentum=dials["momentum"] if plan.momentum else 0.0,
    )
    regression = kernels.kernel_regression(train_kernel, train, query_kernel)
    assert twin.query is not None
    found = _twin_motion(train_kernel, train, twin.train, plan, start) if plan.has_split else {}
    return found | {
        "twin_train_loss": jnp.square(twin.train - train).mean(-1),
        "twin_test_loss": jnp.square(twin.query - test).mean(-1),
        # A number without a step, repeated so that it lies beside the curves.
        "kernel_regression_loss": jnp.full(len(steps), jnp.square(regression - test).mean()),
    }


def _twin_motion(
    kernel: Array, wanted: Array, outputs: Array, plan: Any, start: Statistics
) -> dict[str, Array]:
    """How far the twin's weights go, and how far the fit lies: yᵀK⁺y, the difficulty (Eq. 8).

    Outputs f of a linear model on the training points cost its weights √(fᵀK⁺f).
    """
    values, vectors = jnp.linalg.eigh(kernel)
    is_mode = values > len(kernel) * jnp.finfo(values.dtype).eps * values[-1]
    weight = jnp.where(is_mode, 1 / jnp.where(is_mode, values, 1), 0)
    square = (jnp.square(outputs @ vectors) * weight).sum(-1)
    norm0 = jnp.sqrt(plan.width * jnp.trace(start.second_moment))
    difficulty = (jnp.square(wanted @ vectors) * weight).sum()
    return {
        "twin_change": jnp.sqrt(square) / norm0,
        "difficulty": jnp.full(len(outputs), difficulty),
    }
