"""A sum over blocks of outputs, of which what does not depend on the block is computed once.

Derivatives of some outputs share the values of the forward pass, and a traced kernel is a sum
over outputs. With few outputs at a time Jacobians and cotangents are short-lived and small.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._program import Program, Step
from ._trace import flatten

# What is as cheap to make anew in each block as to read, and can be larger than its source.
_MADE_ANEW = frozenset({"broadcast_in_dim", "expand_dims", "iota", "reshape", "squeeze"})


def sum_over_blocks(
    function: Callable[[Array, PyTree], Array], blocks: Array, arguments: PyTree
) -> Array:
    """Σ over the blocks of a function's values.

    Args:
        function: (block, arguments) -> array.
        blocks: the blocks, along the first axis.
        arguments: what is the same for all blocks.
    """
    closed = jax.make_jaxpr(function)(blocks[0], arguments)
    program = flatten(closed)
    block, *rest = program.inputs
    changing = program.depends_on([block])
    anew = _made_anew(program, changing)
    values = dict(program.constants)
    values.update(zip(rest, jax.tree.leaves(arguments), strict=True))
    _run(values, [step for step in program.steps if changing.isdisjoint(step.outs)])
    steps = [step for step in program.steps if step in anew or not changing.isdisjoint(step.outs)]
    (output,) = program.outputs

    def add(total: Array, part: Array) -> tuple[Array, None]:
        own = {**values, block: part}
        _run(own, steps)
        return total + own[output], None

    shape = program.shapes[output]
    return jax.lax.scan(add, jnp.zeros(shape.shape, shape.dtype), blocks)[0]


def _made_anew(program: Program, changing: frozenset[int]) -> set[Step]:
    """The steps before the changing ones that are to be done again for each block."""
    needed = {
        slot for step in program.steps if not changing.isdisjoint(step.outs) for slot in step.ins
    }
    anew = set()
    for step in reversed(program.steps):
        is_needed = changing.isdisjoint(step.outs) and not needed.isdisjoint(step.outs)
        if is_needed and step.name in _MADE_ANEW:
            needed.update(step.ins)
            anew.add(step)
    return anew


def _run(values: dict[int, PyTree], steps: Sequence[Step]) -> None:
    for step in steps:
        results = step.apply(*(values[slot] for slot in step.ins))
        values.update(zip(step.outs, results, strict=True))
