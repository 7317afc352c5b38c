"""Batches of runs: their inputs on the devices, and their compiled functions."""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PyTree, ScalarLike

from lazyrich._base import full_precision

from ._simulation import Inputs, Program, Simulation

Metric = Callable[[PyTree], PyTree]
"""A user-defined metric: one array from a snapshot."""

Metrics = tuple[tuple[str, Metric], ...]


class Batch(NamedTuple):
    """Inputs of one run, or of several with a leading axis, and what advances them.

    Attributes:
        inputs: on their devices.
        n_runs: how many; None is one run without a leading axis.
        start: () → (constants, state).
        advance: (inputs, constants, state, is active, first step, number of steps) →
            state; a run that is not active stays as it is.
        measure: (inputs, constants, state, step) → records by name.
        params: (inputs, state, last step of each run) → parameters.
    """

    inputs: Inputs
    n_runs: int | None
    start: Callable[[], tuple[PyTree, PyTree]]
    advance: Callable[..., PyTree]
    measure: Callable[..., dict[str, PyTree]]
    params: Callable[..., PyTree]

    def row(self, values: PyTree, k: int) -> PyTree:
        """What belongs to the k-th run."""
        return values if self.n_runs is None else jax.tree.map(lambda leaf: leaf[k], values)


def batch_of(
    simulation: Simulation,
    inputs: Sequence[Inputs],
    metrics: Metrics,
    *,
    devices: Sequence[jax.Device] | None = None,
) -> Batch:
    """One run, or several with a leading axis, spread over devices if given.

    Args:
        simulation: any of those that the inputs are of, which share a static key.
        inputs: of each run.
        metrics: the user's own, by name.
        devices: where to put them; None leaves it to JAX.
    """
    if len(inputs) == 1 and devices is None:
        layout, n_runs = "one", None
        placed = jax.tree.map(jnp.asarray, inputs[0])
    else:
        is_shared = all(one.data is inputs[0].data for one in inputs)
        layout, n_runs = "shared" if is_shared else "runs", len(inputs)
        placed = jax.tree.map(lambda *leaves: jnp.stack(leaves), *inputs)
        if is_shared:
            placed = placed._replace(data=jax.tree.map(jnp.asarray, inputs[0].data))
        if devices is not None:
            placed = _spread(placed, devices, is_shared=is_shared)
    is_x64 = bool(jax.config.read("jax_enable_x64"))
    key = simulation.static_key()
    init, advance, measure, params = _compiled(type(simulation), key, metrics, layout, is_x64)
    return Batch(placed, n_runs, lambda: init(placed), advance, measure, params)


@lru_cache(maxsize=32)
def _compiled(
    kind: type[Simulation], static_key: Hashable, metrics: Metrics, layout: str, is_x64: bool
) -> tuple[Callable[..., PyTree], ...]:
    """The functions of a static key, jitted and, except for layout "one", batched."""
    del is_x64
    program = kind.compile(static_key)
    init, params = program.init, program.params
    advance = partial(_advance_active, program)
    measure = partial(_measure_all, program, metrics)
    if layout != "one":
        data = 0 if layout == "runs" else None
        axes = Inputs(data, 0, 0, 0, 0)
        init = jax.vmap(init, in_axes=(axes,))
        advance = jax.vmap(advance, in_axes=(axes, 0, 0, 0, None))
        measure = jax.vmap(measure, in_axes=(axes, 0, 0, None))
        params = jax.vmap(params, in_axes=(axes, 0, 0))
    return (
        jax.jit(full_precision(init)),
        jax.jit(full_precision(advance), donate_argnums=(2,)),
        jax.jit(full_precision(measure)),
        jax.jit(full_precision(params)),
    )


def _advance_active(
    program: Program,
    inputs: Inputs,
    constants: PyTree,
    state: PyTree,
    is_active: ArrayLike,
    steps: tuple[ScalarLike, ScalarLike],
) -> PyTree:
    after = program.advance(inputs, constants, state, *steps)
    return jax.tree.map(partial(jnp.where, is_active), after, state)


def _measure_all(
    program: Program,
    metrics: Metrics,
    inputs: Inputs,
    constants: PyTree,
    state: PyTree,
    step: ScalarLike,
) -> dict[str, PyTree]:
    records, snapshot = program.measure(inputs, constants, state, step)
    return records | {name: metric(snapshot) for name, metric in metrics}


def _spread(inputs: Inputs, devices: Sequence[jax.Device], *, is_shared: bool) -> Inputs:
    mesh = jax.sharding.Mesh(np.array(devices), ("run",))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("run"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    data = jax.device_put(inputs.data, whole if is_shared else rows)
    return Inputs(data, *jax.device_put(tuple(inputs)[1:], rows))
