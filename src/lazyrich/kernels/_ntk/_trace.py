"""Trace a function to a flat program, without duplicates and dead code.

Calls are opened, loops over few steps are written out, what is known when the program is
traced is computed, and equal operations on equal values become one. So a product that is
written twice enters the tangent kernel once.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import jax
import jax.extend.core as jex
import numpy as np
from jaxtyping import PyTree

from lazyrich.kernels._equation import Equation

from ._contractions import without_products, without_scales, without_transposes
from ._equal_subexpressions import constant_key, operation_key
from ._loops import open_loop
from ._program import Program, Step
from ._windows import open_window

__all__ = ["Program", "Step", "flatten", "trace"]

# Calls that mean nothing but "run this inside". Functions with a derivative rule of
# their own (custom_jvp, custom_vjp) stay closed: their rule is what counts.
_TRANSPARENT = frozenset({"jit", "pjit", "closed_call", "core_call", "remat", "remat2"})
_TRANSPARENT |= {"checkpoint"}
_IDENTITIES = frozenset({"copy", "copy_p", "name", "optimization_barrier"})


def trace(
    function: Callable[..., object], *arguments: PyTree, opens_loops: bool = False
) -> Program:
    """Trace a function and flatten it.

    Args:
        function: any traceable function.
        *arguments: example arguments, pytrees of arrays or of their shapes.
        opens_loops: whether to write out loops over few steps, and to take what scales a
            parameter out of contractions. The last array of the arguments then is the
            data; a loop over the others (parameters) may be longer.

    Returns:
        The program, with one input per array of the flattened arguments, without the
        steps that do not reach an output and with no step twice.
    """
    return flatten(jax.make_jaxpr(function)(*arguments), opens_loops=opens_loops)


def flatten(
    closed: jex.ClosedJaxpr,
    *,
    opens_loops: bool = False,
    opens_turns: bool = True,
    simplifies: bool = True,
) -> Program:
    """A traced function in flat form, as `trace` gives it.

    Args:
        closed: the trace.
        opens_loops: as in `trace`.
        opens_turns: with ``opens_loops``, whether to unroll loops over other values than
            parameters too.
        simplifies: whether to merge equal operations, and to contract transposed arrays
            without transposing them.
    """
    builder = _Builder(opens_loops=opens_loops, opens_turns=opens_turns, simplifies=simplifies)
    inputs = tuple(builder.slot(var.aval) for var in closed.jaxpr.invars)
    builder.params, builder.rowwise = frozenset(inputs[:-1]), {*inputs[-1:]}
    outputs = tuple(builder.inline(closed.jaxpr, closed.consts, inputs))
    program = Program(
        steps=tuple(builder.steps),
        shapes=tuple(builder.shapes),
        inputs=inputs,
        outputs=outputs,
        constants=builder.constants,
    )
    return replace(program, steps=program.steps_to(outputs))


class _Builder:
    def __init__(self, *, opens_loops: bool, opens_turns: bool, simplifies: bool) -> None:
        self.opens_loops = opens_loops
        self.opens_turns = opens_turns
        self.simplifies = simplifies
        self.params: frozenset[int] = frozenset()
        self.steps: list[Step] = []
        self.shapes: list[jax.ShapeDtypeStruct] = []
        self.constants: dict[int, object] = {}
        self.makers: dict[int, Step] = {}
        self.rowwise: set[int] = set()
        # Results by operation and inputs. The identity of an object is part of some keys,
        # so the objects must live as long as the keys.
        self._known: dict[object, tuple[int, ...]] = {}
        self._alive: list[object] = []

    def slot(self, aval: object) -> int:
        self.shapes.append(
            jax.ShapeDtypeStruct(getattr(aval, "shape", ()), getattr(aval, "dtype", None))
        )
        return len(self.shapes) - 1

    def constant(self, aval: object, value: object) -> int:
        key = constant_key(value)
        if key not in self._known:
            slot = self.slot(aval)
            self.constants[slot] = value
            self._known[key] = (slot,)
        return self._known[key][0]

    def inline(
        self, jaxpr: jex.Jaxpr, consts: Iterable[PyTree], inputs: Iterable[int]
    ) -> list[int]:
        self._alive.append(jaxpr)
        slots = dict(zip(jaxpr.invars, inputs, strict=True))
        for var, value in zip(jaxpr.constvars, consts, strict=True):
            slots[var] = self.constant(var.aval, value)

        def read(atom: jex.Literal | jex.Var) -> int:
            if isinstance(atom, jex.Literal):
                value = atom.val
                if not isinstance(value, jax.Array):
                    value = np.asarray(value, getattr(atom.aval, "dtype", None))
                return self.constant(atom.aval, value)
            return slots[atom]

        for eqn in jaxpr.eqns:
            ins = tuple(read(atom) for atom in eqn.invars)
            slots.update(zip(eqn.outvars, self._outputs(eqn, ins), strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def call(self, function: Callable[..., object], *slots: int) -> list[int]:
        """Add what a function does to the values of some slots."""
        closed = jax.make_jaxpr(function)(*(self.shapes[slot] for slot in slots))
        return self.inline(closed.jaxpr, closed.consts, slots)

    def _outputs(self, eqn: Equation, ins: tuple[int, ...]) -> Iterable[int]:
        """The slots of an operation's results, which may exist already."""
        if eqn.primitive.name in _TRANSPARENT:
            inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
            if isinstance(inner, jex.ClosedJaxpr):
                return self.inline(inner.jaxpr, tuple(inner.consts), ins)
            if isinstance(inner, jex.Jaxpr):
                return self.inline(inner, (), ins)
        if self.opens_loops:
            opened = open_loop(self, eqn, ins) or open_window(self, eqn, ins)
            if opened is not None:
                return opened
        if self._is_identity(eqn, ins):
            return ins
        if eqn.primitive.name == "dot_general" and self.simplifies:
            plain = without_transposes(self, eqn, ins)
            if plain is None and self.opens_loops:
                plain = without_scales(self, eqn, ins) or without_products(self, eqn, ins)
            if plain is not None:
                return plain
        key = operation_key(eqn, ins)
        if eqn.effects or not self.simplifies or key not in self._known:
            outs = tuple(self.slot(var.aval) for var in eqn.outvars)
            self.steps.append(Step(eqn, ins, outs))
            self._known[key] = outs
            self.makers.update(dict.fromkeys(outs, self.steps[-1]))
            if not self.rowwise.isdisjoint(ins):
                self.rowwise.update(outs)
            self._compute(self.steps[-1])
        return self._known[key]

    def _is_identity(self, eqn: Equation, ins: tuple[int, ...]) -> bool:
        name = eqn.primitive.name
        if name in _IDENTITIES:
            return True
        if len(ins) != 1 or len(eqn.outvars) != 1:
            return False  # such as a print, which has no result
        before, after = self.shapes[ins[0]], eqn.outvars[0].aval
        if name == "convert_element_type":
            return before.dtype == after.dtype
        if name in {"reshape", "squeeze", "broadcast_in_dim"}:
            return before.shape == after.shape
        return name == "transpose" and tuple(eqn.params["permutation"]) == tuple(
            range(len(after.shape))
        )

    def _compute(self, step: Step) -> None:
        """Compute a loop's counter, and what is made of it, when the loop is written out."""
        shapes = [self.shapes[slot] for slot in (*step.ins, *step.outs)]
        is_number = all(
            shape.shape == () and isinstance(shape.dtype, np.dtype) and shape.dtype.kind in "iub"
            for shape in shapes
        )
        is_known = all(isinstance(self.constants.get(slot), np.ndarray) for slot in step.ins)
        if is_number and is_known and not step.eqn.effects:
            with jax.ensure_compile_time_eval():
                values = step.apply(*(self.constants[slot] for slot in step.ins))
            self.constants.update(zip(step.outs, map(np.asarray, values), strict=True))
