"""Loops written out, so that what happens in each turn can be seen.

A loop over the layers of a network reads its weights as slices of one array. Written out,
each slice enters like the weights of any other layer.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lazyrich.kernels._equation import Equation

from ._program import Step, programs

# A loop is written out if it has few turns, or goes over the parameters, and the result
# stays a program that compiles in seconds.
_MOST_TURNS = 16
_MOST_LAYERS = 128
_MOST_STEPS = 2000
# Turns that do not depend on each other run at once if their values fit.
_MOST_NUMBERS = 2**24


@runtime_checkable
class Builder(Protocol):
    """What a program under construction offers."""

    params: frozenset[int]
    shapes: list[jax.ShapeDtypeStruct]
    constants: dict[int, PyTree]
    makers: dict[int, Step]
    rowwise: set[int]
    opens_turns: bool

    def inline(
        self, jaxpr: jex.Jaxpr, consts: Iterable[PyTree], inputs: Iterable[int]
    ) -> list[int]:
        """Add a program."""
        ...

    def call(self, function: Callable[..., object], *slots: int) -> list[int]:
        """Add what a function does to the values of some slots."""
        ...


def scan_counts(params: Mapping[str, PyTree], n_arguments: int) -> tuple[int, int]:
    """How many arguments of a scan are constants, and how many are carried.

    Raises:
        KeyError: if another version of JAX writes it otherwise.
    """
    if "num_carry" in params:  # JAX before 0.11
        return params["num_consts"], params["num_carry"]
    sizes = [len(tuple(part)) for part in params["ft_in"].unpack()]
    if len(sizes) != 3 or sum(sizes) != n_arguments:
        raise KeyError("ft_in")
    return sizes[0], sizes[1]


def open_loop(builder: Builder, eqn: Equation, ins: tuple[int, ...]) -> list[int] | None:
    """Add a loop, a choice or a slice in plain steps; None if it stays as it is."""
    name = eqn.primitive.name
    if name == "scan" and not eqn.effects:
        return _open_scan(builder, eqn, ins)
    if name == "cond" and isinstance(builder.constants.get(ins[0]), np.ndarray):
        branches = eqn.params["branches"]
        chosen = branches[int(np.clip(int(builder.constants[ins[0]]), 0, len(branches) - 1))]
        return builder.inline(chosen.jaxpr, tuple(chosen.consts), ins[1:])
    if name == "dynamic_slice":
        known = [builder.constants.get(slot) for slot in ins[1:]]
        starts = [int(start) for start in known if isinstance(start, np.ndarray)]
        if len(starts) == len(known):
            return _known_slice(builder, eqn, ins[0], starts)
    return None


def _open_scan(builder: Builder, eqn: Equation, ins: tuple[int, ...]) -> list[int] | None:
    turns = eqn.params["length"]
    if turns == 0:
        return None
    try:
        n_consts, n_carry = scan_counts(eqn.params, len(ins))
    except (AttributeError, KeyError, TypeError):
        return None
    if n_carry == 0:
        return _at_once(builder, eqn, ins, n_consts)
    n_steps = turns * _count_steps(eqn.params["jaxpr"].jaxpr)
    is_layers = not builder.params.isdisjoint(ins[n_consts + n_carry :])
    most = _MOST_LAYERS if is_layers else _MOST_TURNS
    if turns > most or n_steps > _MOST_STEPS or not (is_layers or builder.opens_turns):
        return None
    return _in_turn(builder, eqn, ins, n_consts, n_carry)


def _known_slice(builder: Builder, eqn: Equation, slot: int, starts: list[int]) -> list[int]:
    sizes, full = eqn.params["slice_sizes"], builder.shapes[slot].shape
    low = [min(max(s, 0), n - size) for s, size, n in zip(starts, sizes, full, strict=True)]
    high = [start + size for start, size in zip(low, sizes, strict=True)]
    return builder.call(lambda a: jax.lax.slice(a, low, high), slot)


def _at_once(
    builder: Builder, eqn: Equation, ins: tuple[int, ...], n_consts: int
) -> list[int] | None:
    body, turns = eqn.params["jaxpr"], eqn.params["length"]
    if turns * _count_numbers(body.jaxpr) > _MOST_NUMBERS:
        return None
    axes = (None,) * n_consts + (0,) * (len(ins) - n_consts)
    if not any(axis == 0 for axis in axes):
        return None
    run = jax.vmap(jex.jaxpr_as_fun(body), in_axes=axes, out_axes=0, axis_size=turns)
    return builder.call(run, *ins)


def _in_turn(
    builder: Builder, eqn: Equation, ins: tuple[int, ...], n_consts: int, n_carry: int
) -> list[int]:
    params, body = eqn.params, eqn.params["jaxpr"]
    consts, carry = list(ins[:n_consts]), list(ins[n_consts : n_consts + n_carry])
    turns = range(params["length"])
    stacks: list[list[int]] = []
    for turn in reversed(turns) if params["reverse"] else turns:
        take = lambda a, turn=turn: jax.lax.index_in_dim(a, turn, keepdims=False)  # noqa: E731
        items = [builder.call(take, slot)[0] for slot in ins[n_consts + n_carry :]]
        outs = builder.inline(body.jaxpr, tuple(body.consts), consts + carry + items)
        carry = outs[:n_carry]
        stacks.append(outs[n_carry:])
    if params["reverse"]:
        stacks.reverse()
    joined = [
        builder.call(lambda *a: jnp.stack(a), *parts)[0] for parts in zip(*stacks, strict=True)
    ]
    return carry + joined


def _count_steps(jaxpr: jex.Jaxpr) -> int:
    return sum(_repeats(eqn) * sum(map(_count_steps, programs(eqn))) + 1 for eqn in jaxpr.eqns)


def _count_numbers(jaxpr: jex.Jaxpr) -> int:
    equations: list[Equation] = jaxpr.eqns
    own = sum(int(np.prod(v.aval.shape)) for eqn in equations for v in eqn.outvars)
    return own + sum(_repeats(eqn) * sum(map(_count_numbers, programs(eqn))) for eqn in jaxpr.eqns)


def _repeats(eqn: Equation) -> int:
    return eqn.params["length"] if eqn.primitive.name == "scan" else 1
