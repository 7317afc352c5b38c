"""Parameters that also enter through a few numbers made of parameters alone.

A weight matrix that is divided by the norms of its columns enters as a matrix and through
the norms, which are few. What goes through the norms needs the cotangents of the norms
alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ._program import Program, Step

# How much smaller than the parameter the numbers must be.
_SMALLER = 4


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """What lies between a parameter and the numbers through which it also enters.

    Attributes:
        param: the parameter.
        slots: the numbers; none depends on another.
        size: how many they are.
        steps: what makes them of the parameters, in order.
        blocked: the steps that begin the way there, each with the slots that it reads of
            the parameter.
    """

    param: int
    slots: tuple[int, ...]
    size: int
    steps: tuple[Step, ...]
    blocked: Mapping[Step, frozenset[int]]


def bottleneck(
    program: Program,
    n_params: int,
    param: int,
    begins: Sequence[tuple[Step, int]],
    taps: Sequence[int],
) -> Bottleneck | None:
    """The bottleneck of a parameter's other entries.

    Args:
        program: the predictor on one row.
        n_params: how many of the leading inputs are parameters.
        param: the parameter.
        begins: the steps through which it enters in another way than by its sites, each
            with the slot that it reads.
        taps: the taps of its sites.

    Returns:
        None if there is no such thing, or if it is not small.
    """
    rowwise = program.depends_on(program.inputs[n_params:])
    others = [slot for k, slot in enumerate(program.inputs[:n_params]) if k != param]
    mixed = program.depends_on(others)
    if any(slot in mixed or not rowwise.isdisjoint(step.ins) for step, slot in begins):
        return None
    reached = {slot for step, _ in begins for slot in step.outs}
    ends: dict[int, None] = {}
    for step in program.steps:
        meets = [slot for slot in step.ins if slot in reached]
        if meets and rowwise.isdisjoint(step.ins):
            reached.update(step.outs)
        elif meets:
            ends.update(dict.fromkeys(meets))
    apart = all(program.depends_on([slot]).isdisjoint(ends.keys() - {slot}) for slot in ends)
    is_direct = reached.isdisjoint(program.outputs) and rowwise.issuperset(taps)
    size = sum(int(np.prod(program.shapes[slot].shape)) for slot in ends)
    whole = int(np.prod(program.shapes[program.inputs[param]].shape))
    if not ends or not apart or not is_direct or _SMALLER * size > whole:
        return None
    blocked: dict[Step, frozenset[int]] = {}
    for step, slot in begins:
        blocked[step] = blocked.get(step, frozenset()) | {slot}
    return Bottleneck(param, tuple(ends), size, program.steps_to(ends), blocked)
