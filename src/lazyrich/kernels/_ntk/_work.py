"""What a traced computation has to do, by kinds of operations, and how long that takes.

Products count their multiplications and the numbers that they read and write, because thin
ones are slow for the sake of the latter. Entrywise operations are fused by XLA with their
neighbours, so each result costs arithmetic and no memory. All else moves numbers.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import reduce

import jax.extend.core as jex
import numpy as np

from lazyrich.kernels._equation import Equation

from ._liveness import ENTRYWISE
from ._program import programs

_DEAR = frozenset({
    "cosh", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "log", "log1p", "logistic", "sinh",
    "tanh",
})  # fmt: skip
# Of which XLA has no fast form: about ten times as long, and longer for large arguments.
_DEAREST = frozenset({"atan2", "cbrt", "cos", "digamma", "lgamma", "pow", "sin", "tan"})
# Numbers that a cache holds: of more than these entries take twice as long, moves three times.
_CACHED, _CACHED_ENTRIES = 2**18, 2**20
# Of these nothing is left in a compiled program.
FREE = frozenset({
    "broadcast_in_dim", "copy", "copy_p", "expand_dims", "iota", "optimization_barrier",
    "reshape", "squeeze", "stop_gradient",
})  # fmt: skip
_REDUCING = ("reduce", "cum", "arg")
_PRODUCT, _ADDED = frozenset({"dot_general"}), frozenset({"add", "add_any", "transpose"})
# Copies of whole lines, which are done on the way by what reads them.
_CUTTING = frozenset({"pad", "slice"})


@dataclass(frozen=True)
class Rates:
    """How much of each kind of work a device does in a second; numbers have four bytes.

    Attributes:
        products: multiplications in products of large matrices.
        operands: numbers that products read and write, and that sums read.
        batches: products of a batch of small ones, begun.
        convolutions: multiplications in convolutions.
        moved: numbers that are rearranged, joined or looked up.
        entries: results of entrywise arithmetic.
        functions: results of entrywise functions such as tanh; also multiplications in
            convolutions of groups of features, which XLA does not make products of: each
            counts as ten.
        operations: operations begun.

    Example:
        >>> Rates(1e9, 1e9, 1e6, 1e9, 1e9, 1e9, 1e8, 1e6).functions
        100000000.0
    """

    products: float
    operands: float
    batches: float
    convolutions: float
    moved: float
    entries: float
    functions: float
    operations: float


@dataclass(frozen=True)
class Work:
    """Counts of what `Rates` are the rates of."""

    products: int | float = 0.0
    operands: int | float = 0.0
    batches: int | float = 0.0
    convolutions: int | float = 0.0
    moved: int | float = 0.0
    entries: int | float = 0.0
    functions: int | float = 0.0
    operations: int | float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """All of both."""
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def times(self, count: int | float) -> "Work":
        """The same work several times."""
        return Work(*(count * a for a in astuple(self)))

    def seconds(self, rates: Rates) -> float:
        """How long it takes."""
        pairs = zip(astuple(self), astuple(rates), strict=True)
        return float(sum(count / rate for count, rate in pairs))


def work_of(jaxpr: jex.Jaxpr) -> Work:
    """The work of a traced program."""
    fused = _fused(jaxpr)
    return reduce(Work.__add__, (_work(e) for e in jaxpr.eqns if id(e) not in fused), Work())


def _fused(jaxpr: jex.Jaxpr) -> set[int]:
    """Operations that are done by what reads them.

    Transposes are, in a loop over entries, and those of a matrix in a product. An outer
    product that is added to something takes no more than the addition.
    """
    readers: dict[jex.Var, list[str]] = {}
    for eqn in jaxpr.eqns:
        for atom in eqn.invars:
            if not isinstance(atom, jex.Literal):
                readers.setdefault(atom, []).append(eqn.primitive.name)
    for atom in jaxpr.outvars:
        if not isinstance(atom, jex.Literal):
            readers.setdefault(atom, []).append("output")
    return {
        id(eqn)
        for eqn in jaxpr.eqns
        if (doing := _fusing(eqn)) and doing.issuperset(readers.get(eqn.outvars[0], ["nothing"]))
    }


def _fusing(eqn: Equation) -> frozenset[str]:
    """The operations that do this one on the way, if nothing else reads it."""
    if eqn.primitive.name == "transpose":
        return ENTRYWISE | _PRODUCT if len(eqn.outvars[0].aval.shape) == 2 else ENTRYWISE
    return _ADDED if is_outer_product(eqn) else frozenset()


def _is_bare_reshape(eqn: Equation) -> bool:
    """Whether a transpose moves axes of length one alone, past the others."""
    if eqn.primitive.name != "transpose":
        return False
    shape = eqn.invars[0].aval.shape
    long = [axis for axis in eqn.params["permutation"] if shape[axis] != 1]
    return long == sorted(long)


def is_outer_product(eqn: Equation) -> bool:
    """Whether a product sums over nothing: XLA multiplies entries."""
    if eqn.primitive.name != "dot_general":
        return False
    (contracted, _), _ = eqn.params["dimension_numbers"]
    return _size(eqn.invars[0].aval.shape, contracted) == 1


def _work(eqn: Equation) -> Work:
    name = eqn.primitive.name
    if is_outer_product(eqn):
        return Work(entries=_numbers(eqn.outvars[0]))
    if name == "dot_general":
        return _product(eqn)
    if name == "conv_general_dilated":
        return _convolution(eqn)
    if name == "scan":
        return work_of(eqn.params["jaxpr"].jaxpr).times(eqn.params["length"])
    if name == "cond":
        branches = [work_of(branch.jaxpr) for branch in eqn.params["branches"]]
        return max(branches, key=lambda work: sum(astuple(work)))
    inner = programs(eqn)
    if inner:
        return reduce(Work.__add__, map(work_of, inner))
    if name in FREE or _is_bare_reshape(eqn):
        return Work()
    results = sum(map(_numbers, eqn.outvars))
    if name in _DEAR:
        return Work(functions=results)
    if name in _DEAREST:
        return Work(functions=10 * results)
    if name in ENTRYWISE | _CUTTING:
        return Work(entries=results if results <= _CACHED_ENTRIES else 2 * results)
    if name.startswith(_REDUCING):
        return Work(operands=sum(map(_numbers, eqn.invars)), operations=1)
    return Work(moved=results if results <= _CACHED else 3 * results, operations=1)


def _product(eqn: Equation) -> Work:
    contracted, batched = eqn.params["dimension_numbers"]
    shapes = [variable.aval.shape for variable in eqn.invars]
    n_batches = _size(shapes[0], batched[0])
    inner = _size(shapes[0], contracted[0])
    left, right = (int(np.prod(shape)) // (n_batches * inner) for shape in shapes)
    return Work(
        products=_width(eqn) * n_batches * left * inner * right,
        operands=_numbers(eqn.outvars[0]) + sum(map(_numbers, eqn.invars)),
        batches=n_batches if n_batches > 1 and left * right > 1 else 0,  # else a sum
        operations=1,
    )


def _convolution(eqn: Equation) -> Work:
    spec = eqn.params["dimension_numbers"].rhs_spec
    shape = eqn.invars[1].aval.shape
    each = int(np.prod(shape)) // shape[spec[0]]
    result = eqn.outvars[0].aval.shape
    count = each * int(np.prod(result)) / int(np.prod(eqn.params["lhs_dilation"]))
    is_grouped = eqn.params["feature_group_count"] * eqn.params["batch_group_count"] > 1
    return Work(
        convolutions=0 if is_grouped else _width(eqn) * count,
        functions=10 * _width(eqn) * count if is_grouped else 0,
        operands=_numbers(eqn.outvars[0]) + _numbers(eqn.invars[0]),
        operations=1,
    )


def _size(shape: Sequence[int], axes: Sequence[int]) -> int:
    return int(np.prod([shape[axis] for axis in axes]))


def _numbers(variable: jex.Var) -> float:
    """How many numbers of four bytes a value has."""
    shape = getattr(variable.aval, "shape", ())
    return int(np.prod(shape)) * _width_of(variable)


def _width(eqn: Equation) -> float:
    return _width_of(eqn.outvars[0])


def _width_of(variable: jex.Var) -> float:
    dtype = getattr(variable.aval, "dtype", None)
    return getattr(dtype, "itemsize", 4) / 4
