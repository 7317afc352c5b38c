"""A predictor as a flat list of primitive steps, which can be run again with perturbations.

JAX's own trace nests one function in another (``jit``, ``checkpoint``) and shares
variable objects between calls. Here the nests are opened and every value gets a
number of its own, its slot, so that an analysis can say "slot 17" and mean one value.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

# Calls that mean nothing but "run this inside". Functions with a derivative rule of
# their own (custom_jvp, custom_vjp) stay closed: their rule is what counts.
_TRANSPARENT = frozenset({"jit", "pjit", "closed_call", "core_call", "remat", "remat2"})
_TRANSPARENT |= {"checkpoint"}


@dataclass(frozen=True, eq=False)
class Step:
    """One primitive operation from slots to slots."""

    eqn: Any
    ins: tuple[int, ...]
    outs: tuple[int, ...]

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.eqn.primitive.name

    @property
    def params(self) -> Mapping[str, Any]:
        """The primitive's static parameters."""
        return self.eqn.params

    @cached_property
    def apply(self) -> Callable[..., list[Any]]:
        """The operation as a function of its inputs' values."""
        primitive, params = self.eqn.primitive, self.eqn.params
        if not any(_holds_program(value) for value in params.values()):
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
    constants: Mapping[int, Any]

    @cached_property
    def consumers(self) -> Mapping[int, tuple[Step, ...]]:
        """Which steps read each slot; one that reads it twice is listed twice."""
        readers: dict[int, list[Step]] = {}
        for step in self.steps:
            for slot in step.ins:
                readers.setdefault(slot, []).append(step)
        return {slot: tuple(steps) for slot, steps in readers.items()}

    def run(
        self, arguments: Iterable[Any], *, perturb: Mapping[int, Array] | None = None
    ) -> dict[int, Any]:
        """Run the program.

        Args:
            arguments: one value for each input.
            perturb: values to be added to slots as soon as they are computed.

        Returns:
            The value of every slot.
        """
        perturb = perturb or {}
        values = dict(self.constants)
        values.update(zip(self.inputs, arguments, strict=True))
        for step in self.steps:
            results = step.apply(*(values[slot] for slot in step.ins))
            for slot, value in zip(step.outs, results, strict=True):
                values[slot] = value + perturb[slot] if slot in perturb else value
        return values

    def depends_on(self, inputs: Iterable[int]) -> frozenset[int]:
        """The slots whose value can change when the given input slots change."""
        reached = set(inputs)
        for step in self.steps:
            if not reached.isdisjoint(step.ins):
                reached.update(step.outs)
        return frozenset(reached)


def trace(function: Callable[..., Any], *arguments: Any) -> Program:
    """Trace a function and flatten it.

    Args:
        function: any traceable function.
        *arguments: example arguments, pytrees of arrays or of their shapes.

    Returns:
        The program, with one input per array of the flattened arguments, and without
        the steps that do not reach an output.
    """
    return flatten(jax.make_jaxpr(function)(*arguments))


def flatten(closed: jex.ClosedJaxpr) -> Program:
    """A traced function in flat form, without the steps that do not reach an output."""
    builder = _Builder()
    inputs = tuple(builder.slot(var.aval) for var in closed.jaxpr.invars)
    outputs = tuple(builder.inline(closed.jaxpr, closed.consts, inputs))
    return Program(
        steps=_reaching(builder.steps, outputs),
        shapes=tuple(builder.shapes),
        inputs=inputs,
        outputs=outputs,
        constants=builder.constants,
    )


class _Builder:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.shapes: list[jax.ShapeDtypeStruct] = []
        self.constants: dict[int, Any] = {}

    def slot(self, aval: Any) -> int:
        self.shapes.append(
            jax.ShapeDtypeStruct(getattr(aval, "shape", ()), getattr(aval, "dtype", None))
        )
        return len(self.shapes) - 1

    def constant(self, aval: Any, value: Any) -> int:
        slot = self.slot(aval)
        self.constants[slot] = value
        return slot

    def inline(self, jaxpr: Any, consts: Iterable[Any], inputs: Iterable[int]) -> list[int]:
        slots = dict(zip(jaxpr.invars, inputs, strict=True))
        for var, value in zip(jaxpr.constvars, consts, strict=True):
            slots[var] = self.constant(var.aval, value)

        def read(atom: Any) -> int:
            if isinstance(atom, jex.Literal):
                value = atom.val
                if not isinstance(value, jax.Array):
                    value = np.asarray(value, getattr(atom.aval, "dtype", None))
                return self.constant(atom.aval, value)
            return slots[atom]

        for eqn in jaxpr.eqns:
            ins = tuple(read(atom) for atom in eqn.invars)
            inner = _transparent(eqn)
            if inner is not None:
                outs = self.inline(*inner, ins)
                slots.update(zip(eqn.outvars, outs, strict=True))
                continue
            outs = tuple(self.slot(var.aval) for var in eqn.outvars)
            slots.update(zip(eqn.outvars, outs, strict=True))
            self.steps.append(Step(eqn, ins, outs))
        return [read(atom) for atom in jaxpr.outvars]


def _transparent(eqn: Any) -> tuple[Any, tuple[Any, ...]] | None:
    """The inside of a call that can be opened, with its constants."""
    if eqn.primitive.name not in _TRANSPARENT:
        return None
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    if isinstance(inner, jex.ClosedJaxpr):
        return inner.jaxpr, tuple(inner.consts)
    if isinstance(inner, jex.Jaxpr):
        return inner, ()
    return None


def _holds_program(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_holds_program(item) for item in value)
    return isinstance(value, (jex.Jaxpr, jex.ClosedJaxpr)) or callable(value)


def _nested(eqn: Any) -> Callable[..., list[Any]]:
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

    def apply(*values: Any) -> list[Any]:
        return list(evaluate(*(jnp.asarray(values[first[var]]) for var in distinct)))

    return apply


def _reaching(steps: list[Step], outputs: Iterable[int]) -> tuple[Step, ...]:
    needed, kept = set(outputs), []
    for step in reversed(steps):
        if not needed.isdisjoint(step.outs):
            needed.update(step.ins)
            kept.append(step)
    return tuple(reversed(kept))
