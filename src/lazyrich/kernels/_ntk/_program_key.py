"""When two traced programs are the same program, so that one compilation serves both.

Compilations are kept by what was traced, never by the function that was passed: the same
function object can mean another program later (a global was rebound, an attribute changed),
and a new lambda often means an old one. Captured arrays are arguments of a program and no
part of it.
"""

import enum
import hashlib
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import jax
import jax.extend.core as jex
import numpy as np
from jax.core import ShapedArray, Tracer
from jaxtyping import PyTree

from lazyrich.kernels._equation import Equation

from ._trace import Step

Kept = TypeVar("Kept")

_PLAIN_TYPES = frozenset({bool, int, str, bytes, type(None)})


class NoKeyError(Exception):
    """A program of which it cannot be said when another is the same."""


class Cache(Generic[Kept]):
    """The most recently used of what was made for some keys; safe among threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What was made for this key, or is made now."""
        found = self.find(key)
        # Not under the lock: making it may run a user's code, which may come back here.
        return self.put(key, make()) if found is None else found

    def find(self, key: Hashable) -> Kept | None:
        """What was made for this key, if it is still here."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, made: Kept) -> Kept:
        """Keep what was made; if there is such a thing already, that stays and is returned."""
        with self._lock:
            made = self._kept.setdefault(key, made)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return made

    def __len__(self) -> int:
        return len(self._kept)


@dataclass(frozen=True, eq=False)
class ProgramKey:
    """A program written down: what occurs in it, and where, as numbers of what occurs.

    Keys are compared at each call, so the hash is computed once, and keys of the same inner
    program are mostly one object.
    """

    values: tuple[Hashable, ...]
    text: bytes

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, ProgramKey)
            and self._hash == other._hash
            and self.text == other.text
            and self.values == other.values
        )

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.values, self.text))


# Programs of inner functions, which JAX keeps and uses again, are written down once.
_INNER: WeakKeyDictionary[jex.ClosedJaxpr, ProgramKey] = WeakKeyDictionary()


def program_key(jaxpr: jex.Jaxpr) -> ProgramKey | None:
    """Equal for programs that compute the same, with the same derivatives, from all inputs.

    The captured arrays of the outermost program count as inputs; those of programs inside
    of it (of a derivative rule, say) are compared by value.

    Returns:
        The key, or None if there is no telling, as with calls back into Python.
    """
    try:
        return _Writer().jaxpr(jaxpr)
    except NoKeyError:
        return None


class _Text:
    """The numbers of one program under way, and the things that they stand for."""

    def __init__(self) -> None:
        self.text = array("l")
        self._numbers: dict[Hashable, int] = {}
        # Of objects that occur often, by their identity; they live as long as the program.
        self._avals: dict[int, int] = {}
        self._contexts: dict[int, int] = {}

    def number(self, value: Hashable) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    def aval(self, aval: object) -> int:
        if id(aval) not in self._avals:
            self._avals[id(aval)] = self.number(_aval(aval))
        return self._avals[id(aval)]

    def context(self, ctx: object) -> int:
        if id(ctx) not in self._contexts:
            self._contexts[id(ctx)] = self.number(_context(ctx))
        return self._contexts[id(ctx)]

    def key(self) -> ProgramKey:
        return ProgramKey(tuple(self._numbers), self.text.tobytes())


class _Writer:
    """Writes programs down.

    Sizes and names of what is written are of one call, during which a derivative rule is
    asked once for each shape.
    """

    def __init__(self) -> None:
        self._rules: dict[Hashable, Hashable] = {}
        self._in_rule = False
        # How many rules and arrays that may change later were met so far.
        self._n_changing = 0

    def jaxpr(self, jaxpr: jex.Jaxpr) -> ProgramKey:
        out, variables = _Text(), {}
        text = out.text

        def define(variable: jex.Var) -> None:
            variables[variable] = len(variables)
            text.append(out.aval(variable.aval))

        def read(atom: object) -> None:
            if isinstance(atom, jex.Literal):
                self._n_changing += isinstance(atom.val, np.ndarray)
                value = "literal", _array(atom.val), _aval(atom.aval)
                text.append(-1 - out.number(value))
            else:
                text.append(variables[atom])

        for variable in (*jaxpr.constvars, *jaxpr.invars):
            define(variable)
        for eqn in jaxpr.eqns:
            # Lengths stand before what is of any length, so that a text is read in one way.
            text.extend((out.number(eqn.primitive), len(eqn.invars), len(eqn.outvars)))
            text.extend((out.number(self._parameters(eqn)), out.context(eqn.ctx)))
            for atom in eqn.invars:
                read(atom)
            for variable in eqn.outvars:
                define(variable)
        for atom in jaxpr.outvars:
            read(atom)
        text.extend((len(jaxpr.constvars), len(jaxpr.invars), len(jaxpr.eqns)))
        return out.key()

    def closed(self, closed: jex.ClosedJaxpr) -> Hashable:
        n_changing = self._n_changing
        key = None if self._in_rule else _INNER.get(closed)
        if key is None:
            key = self.jaxpr(closed.jaxpr)
            if not self._in_rule and n_changing == self._n_changing:
                _INNER[closed] = key
        self._n_changing += len(closed.consts)
        return (key, *(_array(value) for value in closed.consts)) if closed.consts else key

    def _parameters(self, eqn: Equation) -> Hashable:
        if not eqn.params:
            return ()
        if eqn.primitive.name in {"custom_jvp_call", "custom_vjp_call"}:
            return self._rule(eqn)
        return tuple((name, self._value(value)) for name, value in sorted(eqn.params.items()))

    def _value(self, value: object) -> Hashable:
        kind = type(value)
        if kind in _PLAIN_TYPES:
            return kind, value
        if isinstance(value, tuple | list):
            if all(type(item) is int for item in value):
                return kind, int, tuple(value)
            return kind, tuple(self._value(item) for item in value)
        if isinstance(value, jex.ClosedJaxpr):
            return "closed", self.closed(value)
        if isinstance(value, jex.Jaxpr):
            return "open", self.jaxpr(value)
        if isinstance(value, Mapping):
            return kind, tuple((k, self._value(v)) for k, v in sorted(value.items()))
        self._n_changing += isinstance(value, np.ndarray)
        return _plain(value)

    def _rule(self, eqn: Equation) -> Hashable:
        """A function with a derivative rule of its own: what it computes and what its rule does.

        The rule is a Python function, whose meaning can change as the predictor's can, so it
        is traced like the predictor.
        """
        params = eqn.params
        if params.get("symbolic_zeros"):
            raise NoKeyError
        inside = self.closed(params["call_jaxpr"])
        if self._in_rule:  # a rule mostly calls its own function; that has no second derivative
            return inside
        functions = _rule_functions(eqn)
        if functions is not None and _is_of_jax(functions[0]) and _has_one_home(functions[0]):
            return inside, functions
        self._n_changing += 1
        known = (inside, functions)
        if functions is None or known not in self._rules:
            self._in_rule = True
            try:
                self._rules[known] = self.closed(derivative(eqn))
            finally:
                self._in_rule = False
        return inside, self._rules[known]


def derivative(eqn: Equation) -> jex.ClosedJaxpr:
    """The derivative rule of an operation, traced: all tangents, or all cotangents.

    Raises:
        NoKeyError: if it has no derivative.
    """
    apply = Step(eqn, (), ()).apply
    inputs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
    outputs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.outvars]
    moves = [jax.dtypes.issubdtype(value.dtype, np.inexact) for value in inputs]

    def moving(values: Sequence[PyTree]) -> list[PyTree]:
        return [value for value, move in zip(values, moves, strict=True) if move]

    def of(values: Sequence[PyTree]) -> Callable[..., list[PyTree]]:
        def function(chosen: list[PyTree]) -> list[PyTree]:
            fresh = iter(chosen)
            return apply(*(next(fresh) if m else v for v, m in zip(values, moves, strict=True)))

        return function

    def forward(values: list[PyTree], tangents: list[PyTree]) -> PyTree:
        return jax.jvp(of(values), (moving(values),), (tangents,))

    def backward(values: list[PyTree], cotangents: list[PyTree]) -> PyTree:
        results, pull = jax.vjp(of(values), moving(values))
        return results, pull(cotangents)

    try:
        if eqn.primitive.name == "custom_jvp_call":
            return jax.make_jaxpr(forward)(inputs, moving(inputs))
        return jax.make_jaxpr(backward)(inputs, outputs)
    except Exception as error:
        # A rule is a user's function and can fail in any way; it does so again, and is
        # heard, where the derivative is needed.
        raise NoKeyError from error


def _rule_functions(eqn: Equation) -> tuple[tuple[object, ...], PyTree] | None:
    """The functions of a derivative rule, if they are found in JAX's record of it.

    They serve to ask each rule once for each shape within one call and no longer: what is
    not found is asked again, which costs time only.
    """
    if eqn.primitive.name == "custom_jvp_call":
        found = [_wrapped(eqn.params.get("jvp_jaxpr_fun"))]
    else:
        found = [_wrapped(eqn.params.get("fwd_jaxpr_thunk")), eqn.params.get("bwd")]
    if any(function is None for function in found):
        return None
    trees = (p for one in found for params in one.params for p in params)
    structures = tuple(p for p in trees if isinstance(p, jax.tree_util.PyTreeDef))
    return tuple(one.f for one in found), structures


def _wrapped(thunk: object) -> Any:
    """The function with its transformations behind a thunk that traces it."""
    waiting = [getattr(thunk, "f", None)]
    for _ in range(2):
        cells = [cell for function in waiting for cell in _cells(function)]
        for value in cells:
            if hasattr(value, "call_wrapped"):
                return value
        waiting = cells
    return None


def _cells(function: object) -> list[Any]:
    """What a function closes over."""
    return [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]


def _is_of_jax(value: PyTree) -> bool:
    """Whether a rule is one of JAX's own functions, whose meaning never changes.

    It must be there once for all, so that it is the same object at the next call.
    """
    if isinstance(value, tuple):
        return all(_is_of_jax(item) for item in value)
    if isinstance(value, jax.custom_jvp):
        return _is_of_jax(value.fun) and "<locals>" not in value.fun.__qualname__
    if value is None or isinstance(value, bool):
        return True
    module = getattr(value, "__module__", None) or ""
    if not callable(value) or module.split(".")[0] != "jax":
        return False
    return all(cell is value or _is_of_jax(cell) for cell in _cells(value))


def _has_one_home(functions: tuple[object, ...]) -> bool:
    """Whether a rule belongs to a function of a module, rather than to one made on the way."""
    owners = [cell for f in functions for cell in _cells(f) if isinstance(cell, jax.custom_jvp)]
    return len(owners) == len(functions)


def _context(ctx: object) -> Hashable:
    """What an operation was told besides its parameters (where to run, sharding, ...)."""
    return tuple(
        _plain(getattr(ctx, name))
        for name in ("compute_type", "threefry_partitionable", "cur_abstract_mesh", "xla_metadata")
        if hasattr(ctx, name)
    )


def _aval(aval: object) -> Hashable:
    if not isinstance(aval, ShapedArray):
        raise NoKeyError
    return aval


def _plain(value: PyTree) -> Hashable:
    """A parameter that is not a program, with its type: 1, 1.0 and True are three things."""
    if type(value) in _PLAIN_TYPES or isinstance(value, int | str | bytes | enum.Enum | np.dtype):
        return type(value), value
    if isinstance(value, float):
        return float, value.hex()
    if isinstance(value, complex):
        return complex, value.real.hex(), value.imag.hex()
    if isinstance(value, type):
        return value
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _array(value)
    is_of_jax = type(value).__module__.split(".")[0] in {"jax", "jaxlib"}
    if is_of_jax and (not callable(value) or isinstance(value, jax.sharding.Mesh)):
        try:
            hash(value)
        except TypeError:
            raise NoKeyError from None
        return type(value), value
    raise NoKeyError(type(value).__name__)


def _array(value: object) -> Hashable:
    """A constant by its value."""
    if isinstance(value, Tracer):
        raise NoKeyError
    values = np.asarray(value)
    if values.dtype == object:
        raise NoKeyError
    content = values.tobytes()
    if len(content) > 32:
        content = hashlib.sha256(content).digest()
    return type(value), values.shape, values.dtype, content
