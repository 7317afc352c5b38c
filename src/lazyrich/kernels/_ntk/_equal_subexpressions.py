"""When two operations of a traced program are one and the same."""

import jax
import numpy as np

from lazyrich.kernels._equation import Equation

from ._program import Step, holds_program

_COMMUTATIVE = frozenset({"add", "add_any", "mul", "max", "min", "and", "or", "xor"})


def constant_key(value: object) -> object:
    """Equal for constants that are surely equal."""
    if isinstance(value, np.ndarray) and value.size <= 16:
        return ("value", value.dtype.str, value.dtype.name, value.shape, value.tobytes())
    return ("array", id(value))


def operation_key(eqn: Equation, ins: tuple[int, ...]) -> object:
    """Equal for operations that surely give equal results.

    The identity of objects is part of some keys, so they must outlive the keys.
    """
    name, params = eqn.primitive.name, dict(eqn.params)
    if name == "dot_general":
        # None means the type of the result, which is the same thing as naming it.
        params["preferred_element_type"] = eqn.outvars[0].aval.dtype
    if name == "custom_jvp_call":
        return (name, ins, _rule(eqn))
    if name in _COMMUTATIVE:
        ins = tuple(sorted(ins))
    return (name, ins, tuple((key, _frozen(params[key])) for key in sorted(params)))


def _frozen(value: object) -> object:
    """A static parameter as a key; programs and functions only equal themselves."""
    if isinstance(value, (tuple, list)):
        return tuple(_frozen(item) for item in value)
    if not holds_program(value):
        try:
            hash(value)
        except TypeError:
            return ("object", id(value))
        return (type(value), value)
    return ("object", id(value))


def _rule(eqn: Equation) -> object:
    """A function with a derivative rule, by its text and that of the rule.

    Each call of such a function makes new objects; what they do is in the text, except
    for arrays that they hold.
    """
    step = Step(eqn, (), ())
    shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
    if not all(jax.numpy.issubdtype(shape.dtype, np.floating) for shape in shapes):
        return ("object", id(eqn))
    rule = jax.make_jaxpr(lambda p, t: jax.jvp(step.apply, p, t))(shapes, shapes)
    if rule.consts or eqn.params["call_jaxpr"].consts:
        return ("object", id(eqn))
    return (str(eqn.params["call_jaxpr"]), str(rule))
