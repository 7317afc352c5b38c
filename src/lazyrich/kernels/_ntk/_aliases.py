"""Values that are a parameter rearranged: transposed, reshaped, sliced, broadcast, scaled.

A view differs from its parameter by where the entries stand and by scalar factors that
depend on no parameter, so that a derivative with respect to the one is a derivative
with respect to the other. A value can be a sum of views (w − wᵀ), and of what does not
depend on the same parameter (the initial weights in θ − θ₀, a low-rank correction).
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from ._trace import Program, Step

_REARRANGING = frozenset(
    {
        "broadcast_in_dim",
        "copy",
        "copy_p",
        "expand_dims",
        "reshape",
        "rev",
        "slice",
        "split",
        "squeeze",
        "transpose",
    }
)


@dataclass(frozen=True)
class Scale:
    """A product of scalars: a sign and slots to multiply with or to divide by."""

    sign: int = 1
    factors: tuple[tuple[int, bool], ...] = ()

    def times(self, other: "Scale") -> "Scale":
        """The product of two scales."""
        return Scale(self.sign * other.sign, self.factors + other.factors)

    def value(self, values: Mapping[int, PyTree], dtype: DTypeLike) -> Array:
        """The scalar, given the values of the slots, computed in the given type."""
        result: PyTree = jax.numpy.asarray(self.sign, dtype)
        for slot, divides in self.factors:
            scalar = jax.numpy.asarray(values[slot], dtype).reshape(())
            result = result / scalar if divides else result * scalar
        return result


@dataclass(frozen=True)
class Strides:
    """The entries of an array inside a flat parameter: start + Σ index · step.

    Attributes:
        start: the first entry.
        shape: the shape of the array.
        steps: for each axis, the step between neighbours; 0 along axes of length one and
            along axes that repeat the same entries.
    """

    start: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]

    def offsets(self, axes: Sequence[int]) -> np.ndarray:
        """The entries along some axes, relative to the start, in the order of the axes."""
        result = np.zeros(1, np.int64)
        for axis in axes:
            along = np.arange(self.shape[axis], dtype=np.int64) * self.steps[axis]
            result = (result[:, None] + along).reshape(-1)
        return result

    def stretched(self, shape: tuple[int, ...]) -> "Strides | None":
        """The same entries along axes of length one that an operation stretches."""
        if self.shape == ():
            return Strides(self.start, shape, (0,) * len(shape))
        if len(self.shape) != len(shape) or any(
            own not in (1, size) for own, size in zip(self.shape, shape, strict=True)
        ):
            return None
        return Strides(self.start, shape, self.steps)

    def is_injective(self, axes: Sequence[int]) -> bool:
        """Whether different indices along some axes surely mean different entries."""
        reach = 0
        for step, size in sorted((abs(self.steps[a]), self.shape[a]) for a in axes):
            if size > 1 and step <= reach:
                return False
            reach += step * (size - 1)
        return True


@dataclass(frozen=True)
class View:
    """A parameter after rearrangements and a scale.

    Attributes:
        param: position among the program's inputs.
        chain: the rearrangements, each with the position of its result used.
        scale: the scalar factor.
    """

    param: int
    chain: tuple[tuple[Step, int], ...] = ()
    scale: Scale = Scale()

    def then(self, step: Step, result: int) -> "View":
        """This view after one more rearrangement."""
        return replace(self, chain=(*self.chain, (step, result)))

    def scaled(self, scale: Scale) -> "View":
        """This view times a scalar."""
        return replace(self, scale=self.scale.times(scale))

    def is_whole(self) -> bool:
        """Whether every entry of the parameter surely stands here exactly once."""
        return all(step.name in {"reshape", "squeeze", "transpose"} for step, _ in self.chain)

    def strides(self, program: Program) -> Strides | None:
        """Which entry of the flat parameter stands where; None if no strides say it."""
        shape = program.shapes[program.inputs[self.param]].shape
        # NumPy's own views do the arithmetic: of one byte an entry, and never read.
        entries = array = np.empty(shape, np.int8)
        for step, result in self.chain:
            array = rearrange(step, result, array)
        if not np.may_share_memory(array, entries):
            return None
        start = array.__array_interface__["data"][0] - entries.__array_interface__["data"][0]
        sizes = zip(array.shape, array.strides, strict=True)
        return Strides(start, array.shape, tuple(0 if n == 1 else step for n, step in sizes))


def views(program: Program, n_params: int) -> tuple[dict[int, tuple[View, ...]], frozenset[int]]:
    """Find the views among a program's values.

    Args:
        program: the traced predictor.
        n_params: how many of the leading inputs are parameters.

    Returns:
        For each slot the views whose sum it is, up to what is added to them, and the
        slots through which a derivative with respect to a parameter can flow.
    """
    found: dict[int, tuple[View, ...]] = {
        slot: (View(index),)
        for index, slot in enumerate(program.inputs[:n_params])
        if is_real(program.shapes[slot])
    }
    active = set(found)
    scalars = Scalars(program)
    rowwise = program.depends_on(program.inputs[n_params:])
    for step in program.steps:
        if step.name == "stop_gradient" or active.isdisjoint(step.ins):
            continue
        active.update(slot for slot in step.outs if _has_derivative(program.shapes[slot]))
        for result, slot in enumerate(step.outs):
            is_same = rowwise.isdisjoint(step.ins)  # for every row
            made = _advance(program, (step, result), found, active, scalars, is_same=is_same)
            # A complex value passes a derivative on, but its cotangent is no real vector.
            if made and is_real(program.shapes[slot]):
                found[slot] = made
    return found, frozenset(active)


def is_real(shape: jax.ShapeDtypeStruct) -> bool:
    """Whether a value holds real floating-point numbers."""
    return shape.dtype is not None and jax.numpy.issubdtype(shape.dtype, np.floating)


def is_complex(shape: jax.ShapeDtypeStruct) -> bool:
    """Whether a value holds complex numbers."""
    return shape.dtype is not None and jax.numpy.issubdtype(shape.dtype, np.complexfloating)


def _has_derivative(shape: jax.ShapeDtypeStruct) -> bool:
    return is_real(shape) or is_complex(shape)


def scalar_factor(
    program: Program, step: Step, slot: int, active: Container[int], scalars: "Scalars"
) -> Scale | None:
    """The scale by which a step multiplies the value at ``slot``, if that is all it does."""
    if step.name == "neg":
        return Scale(-1)
    if step.name not in {"mul", "div"} or step.ins.count(slot) != 1:
        return None
    position = step.ins.index(slot)
    other = step.ins[1 - position]
    scalar = scalars.source(other)
    same_shape = program.shapes[slot].shape == program.shapes[step.outs[0]].shape
    if other in active or scalar is None or not same_shape:
        return None
    if step.name == "div" and position == 1:
        return None
    return Scale(1, ((scalar, step.name == "div"),))


class Scalars:
    """Slots whose entries are all one scalar."""

    def __init__(self, program: Program) -> None:
        self._sources: dict[int, int] = {}
        self._shapes = program.shapes
        for step in program.steps:
            if step.name in {"broadcast_in_dim", "reshape", "squeeze"}:
                source = self.source(step.ins[0])
                if source is not None:
                    self._sources[step.outs[0]] = source

    def source(self, slot: int) -> int | None:
        """The slot of the one scalar, None if the entries can differ."""
        if slot in self._sources:
            return self._sources[slot]
        size = int(np.prod(self._shapes[slot].shape))
        return slot if size == 1 and is_real(self._shapes[slot]) else None


def _advance(
    program: Program,
    made: tuple[Step, int],
    found: Mapping[int, tuple[View, ...]],
    active: set[int],
    scalars: Scalars,
    *,
    is_same: bool,
) -> tuple[View, ...]:
    """The views in one result of a step; none if it makes something else of views."""
    step, result = made
    # What is added must be the same for every row: a bias added to row data is an entry
    # of the bias into the network, not a rearrangement of it.
    if step.name in {"add", "sub"} and is_same:
        shape = program.shapes[step.outs[0]].shape
        if any(slot in found and program.shapes[slot].shape != shape for slot in step.ins):
            return ()
        first, second = (found.get(slot, ()) for slot in step.ins)
        return first + tuple(v.scaled(Scale(-1)) if step.name == "sub" else v for v in second)
    slots = [slot for slot in step.ins if slot in active]
    if len(slots) != 1 or slots[0] not in found:
        return ()
    slot, present = slots[0], found[slots[0]]
    if step.name == "convert_element_type":
        return present
    if step.name in _REARRANGING and step.ins[0] == slot and len(step.ins) == 1:
        return tuple(view.then(step, result) for view in present)
    scale = scalar_factor(program, step, slot, active, scalars)
    return () if scale is None else tuple(view.scaled(scale) for view in present)


def rearrange(step: Step, result: int, places: np.ndarray) -> np.ndarray:
    """Do to an array what a rearranging step does (its given result, if it has several)."""
    params = step.params
    if step.name == "transpose":
        return places.transpose(params["permutation"])
    if step.name == "reshape":
        return places.reshape(params["new_sizes"])
    if step.name in {"squeeze", "expand_dims"}:
        return places.reshape(step.eqn.outvars[0].aval.shape)
    if step.name == "rev":
        return np.flip(places, params["dimensions"])
    if step.name == "slice":
        strides = params["strides"] or (1,) * places.ndim
        bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
        return places[tuple(slice(*bound) for bound in bounds)]
    if step.name == "split":
        cuts = np.cumsum(params["sizes"])[:-1]
        return np.split(places, cuts, params["axis"])[result]
    if step.name == "broadcast_in_dim":
        shape, axes = params["shape"], params["broadcast_dimensions"]
        unit = [1] * len(shape)
        for size, axis in zip(places.shape, axes, strict=True):
            unit[axis] = size
        return np.broadcast_to(places.reshape(unit), shape)
    return places
