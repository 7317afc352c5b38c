"""A predictor as the program that it is now: traced anew at each call, compared by what it does."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lazyrich._base import InputError, Params, Predictor, kind_of
from lazyrich.kernels._equation import Equation

from .._inputs import Rows
from ._program import programs
from ._program_key import program_key


@dataclass(frozen=True, eq=False)
class Traced:
    """A function of parameter arrays and input arrays, as traced.

    Attributes:
        jaxpr: the program.
        constants: the arrays that it has captured.
        outputs: the structure of what it returns.
        captured: the objects that these arrays were made of.
    """

    jaxpr: jex.Jaxpr
    constants: list[PyTree]
    outputs: PyTree
    captured: list[PyTree] = field(default_factory=list)

    @property
    def closed(self) -> jex.ClosedJaxpr:
        """The program with the captured arrays."""
        return jex.ClosedJaxpr(self.jaxpr, self.constants)

    def without_constants(self) -> "Traced":
        """The same program without the captured arrays, which it is then to be given."""
        jaxpr: Any = self.jaxpr
        # Newer JAX keeps the arrays in the program too.
        bare = jaxpr.replace(consts=[]) if getattr(jaxpr, "consts", None) else jaxpr
        return Traced(bare, [], self.outputs)

    @cached_property
    def key(self) -> Hashable | None:
        """Equal for equal programs whatever they captured; None if that cannot be said."""
        return program_key(self.jaxpr)

    def __call__(
        self, constants: Sequence[PyTree], leaves: Sequence[Array], inputs: Sequence[Array]
    ) -> Array:
        """The output, with the captured arrays given."""
        program = jex.ClosedJaxpr(self.jaxpr, list(constants))
        (output,) = jex.jaxpr_as_fun(program)(*leaves, *inputs)
        return output


def traced(
    predict: Predictor,
    rebuild: Callable[[list[Array]], Params],
    leaves: Sequence[Array],
    rows: Rows,
    n_rows: int,
) -> Traced:
    """The predictor on batches of some number of rows.

    Args:
        predict: the predictor.
        rebuild: from the arrays that have a derivative to all parameters.
        leaves: those arrays.
        rows: inputs, of which the shapes count.
        n_rows: the number of rows.

    Raises:
        InputError: with what the predictor raised.
    """

    # A new function each time: JAX keeps traces by the function object.
    def fresh(leaves: list[Array], inputs: list[Array]) -> object:
        return predict(rebuild(leaves), rows.structure.unflatten(inputs))

    inputs = [jax.ShapeDtypeStruct((n_rows, *leaf.shape[1:]), leaf.dtype) for leaf in rows.leaves]
    try:
        closed, outputs = jax.make_jaxpr(fresh, return_shape=True)(list(leaves), inputs)
    except InputError:
        raise
    except Exception as error:  # predict is a user's function
        shapes = " and ".join(str(one.shape) for one in inputs)
        raise InputError(
            f"predict fails on inputs of shape {shapes} ({said(error)}); it must be a function of "
            "parameters and rows that JAX can trace, for any number of rows."
        ) from error
    # Copies of NumPy arrays: the caller's memory may change while these are in use.
    constants = [c if isinstance(c, Array) else jnp.array(c) for c in closed.consts]
    return Traced(closed.jaxpr, constants, outputs, closed.consts)


def said(error: BaseException) -> str:
    """An error in one line: its type and the beginning of its message."""
    line = (str(error).strip().splitlines() or [""])[0]
    text = line[:200] + ("…" if len(line) > 200 else "")
    return f"{type(error).__name__}: {text.removesuffix('.')}"


def require_outputs(outputs: PyTree, n: int) -> jax.ShapeDtypeStruct:
    """Refuse what is not one floating array of shape (n,) or (n, c)."""
    if not hasattr(outputs, "shape") or not hasattr(outputs, "dtype"):
        raise InputError(
            f"The predictor returned {kind_of(outputs)}; it must return one array, so wrap "
            "it in a function that keeps the predictions alone."
        )
    if len(outputs.shape) not in (1, 2) or outputs.shape[0] != n:
        raise InputError(
            f"The predictor returned shape {outputs.shape} for {n} rows; wanted ({n},) or ({n}, c)."
        )
    if not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise InputError(
            f"The predictor returned {outputs.dtype}, which has no derivative; return the real "
            "outputs before any rounding or argmax."
        )
    if np.dtype(outputs.dtype).itemsize < 2:
        raise InputError(
            f"The predictor returned {outputs.dtype}, which is too coarse for a kernel; return the "
            "outputs in float32."
        )
    return outputs


def equations(jaxpr: jex.Jaxpr) -> Iterator[Equation]:
    """The operations of a program and of the programs inside of it."""
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in programs(eqn):
            yield from equations(inner)


def operations(closed: jex.ClosedJaxpr) -> list[str]:
    """The names of a program's operations."""
    return [eqn.primitive.name for eqn in equations(closed.jaxpr)]


def push_forward(
    function: Callable[[list[Array]], Array], at: list[Array], change: list[Array]
) -> tuple[Array, Array]:
    """The value of a function and its derivative in one direction.

    A function with a rule for cotangents alone (``custom_vjp``) has no rule for tangents:
    there the map from cotangents, which is linear, is transposed.

    Raises:
        InputError: if that map cannot be transposed, or if the output is not one array.
    """
    closed, outputs = jax.make_jaxpr(lambda leaves: function(leaves), return_shape=True)(at)
    if not hasattr(outputs, "shape"):
        require_outputs(outputs, 0)
    run = jex.jaxpr_as_fun(closed)

    def fixed(leaves: list[Array]) -> Array:
        return run(*leaves)[0]

    if "custom_vjp_call" not in operations(closed):
        return jax.jvp(fixed, (at,), (change,))
    output, pull = jax.vjp(fixed, at)
    try:
        (tangent,) = jax.linear_transpose(lambda cotangent: pull(cotangent)[0], output)(change)
    except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
        raise InputError(
            "The predictor has a custom_vjp rule that is not linear in the cotangent, or cannot be "
            "transposed; give that function a custom_jvp rule instead."
        ) from error
    return output, tangent
