"""Measuring how fast a device does each kind of work."""

import time
from collections.abc import Callable
from dataclasses import fields

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._work import Rates, Work, work_of

_RUNS = 7


def measured_rates(clock: Callable[[], float] = time.perf_counter) -> Rates:
    """The rates of the device that JAX computes on; takes a few seconds.

    Each kind is measured by a small program that does little else; what it does of kinds
    measured before is taken off.

    Args:
        clock: returns seconds; on a busy machine, for example, `time.process_time`.
    """
    known = {field.name: float("inf") for field in fields(Rates)}
    with jax.default_matmul_precision("highest"):
        idle = _seconds(clock, lambda x: x + 1, jnp.zeros(8))
        for kind, (function, shapes) in _PROGRAMS.items():
            arrays = [jnp.full(shape, 0.5, jnp.float32) for shape in shapes]
            work = work_of(jax.make_jaxpr(function)(*arrays).jaxpr)
            rest = _seconds(clock, function, *arrays) - idle
            took = rest - work.seconds(Rates(**known))
            # Rounding and other work on the machine could leave nothing.
            known[kind] = getattr(work, kind) / max(took, 0.1 * rest, 1e-7)
    return Rates(**known)


def _seconds(clock: Callable[[], float], function: Callable[..., Array], *arrays: Array) -> float:
    """The shortest of several runs: other work on the machine only adds to it."""
    run = jax.jit(function)
    jax.block_until_ready(run(*arrays))
    found = []
    for _ in range(_RUNS):
        start = clock()
        jax.block_until_ready(run(*arrays))
        found.append(clock() - start)
    return min(found)


def _chain(x: Array, w: Array) -> Array:
    for _ in range(100):
        x = x @ w
    return x


def _arithmetic(x: Array, y: Array) -> Array:
    return jnp.maximum(x * y + y, 0.25) - x


def _functions(x: Array) -> Array:
    return jnp.tanh(jnp.exp(jnp.sin(x)))


def _convolution(x: Array, filters: Array) -> Array:
    return jax.lax.conv_general_dilated(
        x, filters, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _moving(x: Array) -> Array:
    """As patches of images are put together."""
    parts = [x[:, k : k + 30, m : m + 30] for k in range(3) for m in range(3)]
    return jnp.stack(parts, 4).transpose(0, 3, 4, 1, 2)


# In an order in which each needs only those before it.
_PROGRAMS = {
    "operations": (_chain, [(4, 4), (4, 4)]),
    "products": (jnp.matmul, [(1024, 1024), (1024, 1024)]),
    "operands": (jnp.matmul, [(2**18, 16), (16, 4)]),
    "batches": (jnp.matmul, [(2**14, 4, 4), (2**14, 4, 4)]),
    "moved": (_moving, [(32, 32, 32, 32)]),
    "convolutions": (_convolution, [(16, 32, 32, 32), (3, 3, 32, 32)]),
    "entries": (_arithmetic, [(2**22,), (2**22,)]),
    "functions": (_functions, [(2**22,)]),
}
assert set(_PROGRAMS) == {field.name for field in fields(Work)}
