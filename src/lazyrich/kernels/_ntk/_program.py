"""A predictor as a flat list of primitive steps, which can be run again with perturbations.

JAX's own trace nests one function in another (``jit``, ``checkpoint``) and shares
variable objects between calls. Here the nests are opened and every value gets a
number of its own, its slot, so that an analysis can say "slot 17" and mean one value.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lazyrich.kernels._equation import Equation


@dataclass(frozen=True, eq=False)
class Step:
    """One primitive operation from slots to slots."""

    eqn: Equation
    ins: tuple[int, ...]
    outs: tuple[int, ...]

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.eqn.primitive.name

    @property
    def params(self) -> Mapping[str, PyTree]:
        """The primitive's static parameters."""
        return self.eqn.params

    @cached_property
    def apply(self) -> Callable[..., list[PyTree]]:
        """The operation as a function of its inputs' values."""
        primitive, params = self.eqn.primitive, self.eqn.params
        if not any(holds_program(value) for value in params.values()):
            if primitive.multiple_results:
                return lambda *values: list(primitive.bind(*values, **params))
            return lambda *values: [primitive.bind(*values, **params)]
        return _nested(self.eqn)


@dataclass(frozen=True, eq=False)
class Program:
    """A traced function in flat form.

    Attributes:
        steps: the operations, in an order in which they can be run.
        shapes: shape and dtype of every slot.
        inputs: the slots of the flattened arguments.
        outputs: the slots of the flattened results.
        constants: values known when traced (literals and captured arrays).
    """

    steps: tuple[Step, ...]
    shapes: tuple[jax.ShapeDtypeStruct, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: Mapping[int, PyTree]

    @cached_property
    def consumers(self) -> Mapping[int, tuple[Step, ...]]:
        """Which steps read each slot; one that reads it twice is listed twice."""
        readers: dict[int, list[Step]] = {}
        for step in self.steps:
            for slot in step.ins:
                readers.setdefault(slot, []).append(step)
        return {slot: tuple(steps) for slot, steps in readers.items()}

    def run(
        self,
        arguments: Iterable[PyTree],
        *,
        perturb: Mapping[int, Array] | None = None,
        blocked: Mapping[Step, frozenset[int]] | None = None,
    ) -> dict[int, PyTree]:
        """Run the program.

        Args:
            arguments: one value for each input.
            perturb: values to be added to slots as soon as they are computed.
            blocked: slots through which no derivative is to flow into some steps.

        Returns:
            The value of every slot.
        """
        perturb, blocked = perturb or {}, blocked or {}
        values = dict(self.constants)
        values.update(zip(self.inputs, arguments, strict=True))
        for step in self.steps:
            inputs = [values[slot] for slot in step.ins]
            if step in blocked:
                inputs = [
                    jax.lax.stop_gradient(value) if slot in blocked[step] else value
                    for slot, value in zip(step.ins, inputs, strict=True)
                ]
            results = step.apply(*inputs)
            for slot, value in zip(step.outs, results, strict=True):
                values[slot] = value + perturb[slot] if slot in perturb else value
        return values

    def steps_to(self, slots: Iterable[int]) -> tuple[Step, ...]:
        """The steps that are needed for the values of some slots."""
        needed, kept = set(slots), []
        for step in reversed(self.steps):
            if not needed.isdisjoint(step.outs):
                needed.update(step.ins)
                kept.append(step)
        return tuple(reversed(kept))

    def depends_on(self, inputs: Iterable[int]) -> frozenset[int]:
        """The slots whose value can change when the given input slots change."""
        reached = set(inputs)
        for step in self.steps:
            if not reached.isdisjoint(step.ins):
                reached.update(step.outs)
        return frozenset(reached)


def free_axes(program: Program, step: Step) -> tuple[list[int], list[int]]:
    """The axes of both operands of a contraction that are neither contracted nor batched."""
    contracted, batched = step.params["dimension_numbers"]
    left, right = (
        [
            axis
            for axis in range(len(program.shapes[step.ins[side]].shape))
            if axis not in contracted[side] and axis not in batched[side]
        ]
        for side in (0, 1)
    )
    return left, right


def holds_program(value: object) -> bool:
    """Whether a static parameter is, or holds, a function or a traced program."""
    if isinstance(value, (tuple, list)):
        return any(holds_program(item) for item in value)
    return isinstance(value, (jex.Jaxpr, jex.ClosedJaxpr)) or callable(value)


def programs(eqn: Equation) -> list[jex.Jaxpr]:
    """The programs inside of an operation."""
    found = []
    for value in eqn.params.values():
        for inner in value if isinstance(value, tuple | list) else (value,):
            inner = inner.jaxpr if isinstance(inner, jex.ClosedJaxpr) else inner
            if isinstance(inner, jex.Jaxpr):
                found.append(inner)
    return found


def _nested(eqn: Equation) -> Callable[..., list[PyTree]]:
    """An operation with programs inside, by JAX's own evaluation of a one-step program.

    How such an operation is bound differs between JAX versions; how a program is
    evaluated does not.
    """
    distinct = list(dict.fromkeys(v for v in eqn.invars if not isinstance(v, jex.Literal)))
    template = jax.make_jaxpr(lambda *a: list(a))(
        *(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in distinct)
    )
    single = template.jaxpr.replace(invars=distinct, outvars=list(eqn.outvars), eqns=[eqn])
    evaluate = jex.jaxpr_as_fun(jex.ClosedJaxpr(single, ()))
    first = {var: eqn.invars.index(var) for var in distinct}

    def apply(*values: PyTree) -> list[PyTree]:
        return list(evaluate(*(jnp.asarray(values[first[var]]) for var in distinct)))

    return apply
