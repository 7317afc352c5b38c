"""Measuring how fast a device does each kind of work."""

import time
from collections.abc import Callable
from dataclasses import fields

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._work import Rates, Work, work_of

_RUNS = 7


def measured_rates() -> Rates:
    """The rates of the device that JAX computes on; takes a few seconds.

    Each kind is measured by a small program that does little else; what it does of kinds
    measured before is taken off.
    """
    known = {field.name: float("inf") for field in fields(Rates)}
    with jax.default_matmul_precision("highest"):
        idle = _seconds(lambda x: x + 1, jnp.zeros(8))
        for kind, (function, shapes) in _PROGRAMS.items():
            arrays = [jnp.full(shape, 0.5, jnp.float32) for shape in shapes]
            work = work_of(jax.make_jaxpr(function)(*arrays).jaxpr)
            rest = _seconds(function, *arrays) - idle
            took = rest - work.seconds(Rates(**known))
            # Rounding and other work on the machine could leave nothing.
            known[kind] = getattr(work, kind) / max(took, 0.1 * rest, 1e-7)
    return Rates(**known)


def _seconds(function: Callable[..., Array], *arrays: Array) -> float:
    """The shortest of several runs: other work on the machine only adds to it."""
    run = jax.jit(function)
    jax.block_until_ready(run(*arrays))
    found = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        jax.block_until_ready(run(*arrays))
        found.append(time.perf_counter() - start)
    return min(found)


def _chain(x: Array, w: Array) -> Array:
    for _ in range(100):
        x = x @ w
    return x


def _arithmetic(x: Array, y: Array) -> Array:
    for _ in range(16):
        x = x * y + y
    return x


def _functions(x: Array) -> Array:
    return jnp.tanh(jnp.exp(jnp.sin(x)))


def _convolution(x: Array, filters: Array) -> Array:
    return jax.lax.conv_general_dilated(
        x, filters, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


# In an order in which each needs only those before it.
_PROGRAMS = {
    "operations": (_chain, [(4, 4), (4, 4)]),
    "products": (jnp.matmul, [(1024, 1024), (1024, 1024)]),
    "operands": (jnp.matmul, [(2**18, 16), (16, 4)]),
    "batches": (jnp.matmul, [(2**14, 4, 4), (2**14, 4, 4)]),
    "moved": (lambda x: x.T, [(2048, 4096)]),
    "convolutions": (_convolution, [(16, 32, 32, 32), (3, 3, 32, 32)]),
    "entries": (_arithmetic, [(2**22,), (2**22,)]),
    "functions": (_functions, [(2**22,)]),
}
assert set(_PROGRAMS) == {field.name for field in fields(Work)}
