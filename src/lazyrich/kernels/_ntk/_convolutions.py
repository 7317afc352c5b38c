"""Convolutions as contractions: each position of the result sees one patch of the input."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ._trace import Program, Step
from ._windows import windows

# A filter of more places than this is unfolded by JAX's own (slower) operation.
_MOST_SLICES = 64


def is_plain_convolution(program: Program, step: Step) -> bool:
    """Whether a step is a convolution that `patches` understands."""
    if step.name != "conv_general_dilated" or step.params["batch_group_count"] != 1:
        return False
    shapes = [program.shapes[slot].shape for slot in (*step.ins, *step.outs)]
    return all(shapes) and not any(0 in shape for shape in shapes)


def filter_axes(step: Step) -> tuple[int, tuple[int, ...]]:
    """Of the filters, the axis of results and those that are contracted."""
    results, inner, *places = step.params["dimension_numbers"].rhs_spec
    return results, (inner, *places)


def result_axes(step: Step) -> tuple[int, tuple[int, ...]]:
    """Of the result, the axis of features and all others."""
    feature = step.params["dimension_numbers"].out_spec[1]
    rank = len(step.params["dimension_numbers"].out_spec)
    return feature, tuple(axis for axis in range(rank) if axis != feature)


def patch_numbers(program: Program, step: Step) -> int:
    """How many numbers a patch has, of all groups of features together."""
    spec = step.params["dimension_numbers"].rhs_spec
    shape = program.shapes[step.ins[1]].shape
    places = int(np.prod([shape[axis] for axis in spec[2:]]))
    return shape[spec[1]] * step.params["feature_group_count"] * places


def patches(step: Step, shape: Sequence[int], value: Array) -> Array:
    """The patches of a convolution's input.

    Args:
        step: the convolution.
        shape: the shape of its filters.
        value: its input.

    Returns:
        An array like the convolution's result, with the patch in place of its features:
        input features first, then places of the filter.
    """
    params: PyTree = step.params
    numbers = params["dimension_numbers"]
    size = [shape[axis] for axis in numbers.rhs_spec[2:]]
    options = {key: params[key] for key in ("window_strides", "padding")}
    value = value.transpose(numbers.lhs_spec)
    if int(np.prod(size)) > _MOST_SLICES:
        found = jax.lax.conv_general_dilated_patches(
            value,
            size,
            **options,
            lhs_dilation=params["lhs_dilation"],
            rhs_dilation=params["rhs_dilation"],
            precision=jax.lax.Precision.HIGHEST,
        )
    else:
        found = _sliced(value, size, params)
    return found.transpose(np.argsort(numbers.out_spec))


def _sliced(value: Array, size: Sequence[int], params: PyTree) -> Array:
    """Patches of (n, features, places...) as one strided slice for each filter place."""
    spread = [
        (low, high, dilation - 1)
        for (low, high), dilation in zip(params["padding"], params["lhs_dilation"], strict=True)
    ]
    zero = jnp.zeros((), value.dtype)
    value = jax.lax.pad(value, zero, [(0, 0, 0), (0, 0, 0), *spread])
    parts = windows(
        value, (1, 1, *size), (1, 1, *params["window_strides"]), (1, 1, *params["rhs_dilation"])
    )
    stacked = jnp.stack(parts, 2)
    return stacked.reshape(stacked.shape[0], -1, *stacked.shape[3:])
