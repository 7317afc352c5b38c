"""Convert numbers in any accepted form to arrays of one floating type.

A computation in an integer or half type can be silently wrong: rates are rounded to
zero, sums overflow. So every function that takes numbers converts them here first.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ._concrete import concrete
from ._display import kind_of
from ._errors import InputError


def real_arrays(**values: object) -> tuple[Array, ...]:
    """The values as JAX arrays of one floating type, the widest that any of them has.

    Integers, booleans and Python's own floats take the type of the others, or JAX's default
    if there are no others. Half types are computed in single precision. Double precision
    becomes single where JAX has ``jax_enable_x64`` switched off.

    Args:
        **values: numbers by the name that the caller knows them by: JAX, NumPy or masked
            arrays, nested lists, pandas or PyTorch objects. Masked entries become NaN.

    Returns:
        One array for each value, in their order.

    Raises:
        InputError: if a value is not made of real numbers, or is too large or too small
            for the type.

    Example:
        >>> kernel, targets = real_arrays(kernel=[[2, 0], [0, 1]], targets=[True, False])
        >>> kernel.dtype == targets.dtype == jnp.result_type(float)
        True
    """
    arrays = {name: real_array(name, value) for name, value in values.items()}
    floats = [
        array.dtype
        for name, array in arrays.items()
        if jnp.issubdtype(array.dtype, jnp.floating) and type(values[name]) is not float
    ]
    dtype = _computing_dtype(floats)
    return tuple(_cast(name, array, dtype) for name, array in arrays.items())


def real_like(array: Array, **values: object) -> tuple[Array, ...]:
    """The values as JAX arrays of the floating type of an array.

    For numbers such as a rate, which do not decide the precision.

    Args:
        array: whose type is taken.
        **values: as in ``real_arrays``.

    Returns:
        One array for each value, in their order.

    Raises:
        InputError: as ``real_arrays``.

    Example:
        >>> [rate] = real_like(jnp.ones(2, jnp.float32), learning_rate=1)
        >>> rate.dtype == jnp.float32
        True
    """
    return tuple(
        _cast(name, real_array(name, value), array.dtype) for name, value in values.items()
    )


def real_scalars(array: Array, **values: object) -> tuple[Array, ...]:
    """Single numbers as JAX scalars of the floating type of an array.

    Args:
        array: whose type is taken.
        **values: as in ``real_arrays``, without an axis.

    Returns:
        One scalar for each value, in their order.

    Raises:
        InputError: as ``real_arrays``, or if a value has an axis.

    Example:
        >>> real_scalars(jnp.ones(2), ridge=[0.1, 0.2])
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: ridge has shape (2,); give one number
        (jax.vmap takes several).
    """
    scalars = real_like(array, **values)
    for name, scalar in zip(values, scalars, strict=True):
        if scalar.ndim:
            raise InputError(
                f"{name} has shape {scalar.shape}; give one number (jax.vmap takes several)."
            )
    return scalars


def host_array(name: str, value: object) -> np.ndarray:
    """A value as a NumPy array in double precision, for functions that decide on the host.

    Args:
        name: by which the caller knows it.
        value: as in ``real_arrays``.

    Returns:
        The array.

    Raises:
        InputError: if the value is not made of real numbers, or is being traced.

    Example:
        >>> host_array("delays", [1, True, float("inf")]).tolist()
        [1.0, 1.0, inf]
    """
    array = concrete(real_array(name, value))
    if array is None:
        raise InputError(
            f"{name} is traced by jit, vmap or grad and its numbers are needed; call the "
            "function outside of these."
        )
    return array.astype(np.float64)


def given_rounding(value: object) -> float:
    """The machine epsilon of the type in which numbers were given; 0 for integers.

    Args:
        value: as in ``real_arrays``.

    Returns:
        The epsilon, 0 or above.

    Raises:
        InputError: if the value is not made of real numbers.

    Example:
        >>> given_rounding(jnp.ones(2, jnp.bfloat16)), given_rounding([1, 2])
        (0.0078125, 0.0)
    """
    dtype = real_array("value", value).dtype
    return float(jnp.finfo(dtype).eps) if jnp.issubdtype(dtype, jnp.floating) else 0.0


def real_array(name: str, value: object) -> np.ndarray | Array:
    """A value as an array of the real type that it has, NumPy's if it is no JAX array.

    Args:
        name: by which the caller knows it.
        value: as in ``real_arrays``.

    Returns:
        The array.

    Raises:
        InputError: if the value is not made of real numbers.

    Example:
        >>> real_array("steps", [1, 2]).dtype.kind
        'i'
    """
    array = _array(name, value)
    if isinstance(array, np.ndarray) and array.dtype == object:
        array = _numbers(name, array)
    kinds = (jnp.bool_, jnp.integer, jnp.floating)
    is_span = (
        isinstance(array, np.ndarray) and array.dtype.kind == "m"
    )  # of time, which NumPy counts among the integers
    if is_span or not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
        raise InputError(f"{name} has the type {array.dtype}; give real numbers.")
    if isinstance(array, np.ndarray) and (array.dtype.itemsize > 8 or not array.dtype.isnative):
        return array.astype(np.float64)  # which JAX would not take
    return array


def _array(name: str, value: object) -> np.ndarray | Array:
    if isinstance(value, jax.Array):
        return value
    try:
        if isinstance(value, np.ma.MaskedArray):
            return np.where(np.ma.getmaskarray(value), np.nan, value.data)
        if hasattr(value, "detach"):  # PyTorch, which this layer does not import
            return _from_tensor(value)
        array = concrete(value)
        return jnp.asarray(value) if array is None else array
    except Exception as error:  # __array__ and detach are code of the value's own
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{name} is {kind_of(value)} that is not an array of numbers ({said}); give one of a "
            "regular shape."
        ) from None


def _from_tensor(tensor: PyTree) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # NumPy has no such type of its own
        return np.asarray(tensor.float()).astype(jnp.bfloat16)
    return np.asarray(tensor)


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    """Python's own numbers (fractions, decimals, large integers); a None among them is NaN."""
    if array.ndim == 0 and array.item() is None:
        raise InputError(f"{name} is None; give real numbers.")
    kinds = sorted({type(entry).__name__ for entry in array.flat})
    try:
        if "str" not in kinds and "bytes" not in kinds:  # float() would read these
            return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{name} is made of {', '.join(kinds)}; give real numbers.")


def _computing_dtype(dtypes: list[np.dtype]) -> np.dtype:
    """Single precision or double, the wider of those given; JAX's default for none."""
    if not dtypes:
        return jnp.result_type(float)
    is_double = any(jnp.finfo(dtype).bits > 32 for dtype in dtypes)
    return jax.dtypes.canonicalize_dtype(np.float64 if is_double else np.float32)


def _cast(name: str, array: np.ndarray | Array, dtype: np.dtype) -> Array:
    if isinstance(array, jax.Array):
        if concrete(array) is not None and array.dtype == dtype:
            _require_range(name, np.asarray(array), dtype)
        return array.astype(dtype)
    _require_range(name, array, dtype)
    return jnp.asarray(array.astype(dtype))


def _require_range(name: str, array: np.ndarray, dtype: np.dtype) -> None:
    """Refuse numbers that would become infinite or lose their digits in a type."""
    if array.size == 0 or not jnp.issubdtype(array.dtype, jnp.floating):
        return
    largest = float(np.max(np.abs(array), where=np.isfinite(array), initial=0))
    limits = jnp.finfo(dtype)
    # Entries down to the rounding of the largest must be normal numbers too.
    smallest = float(limits.tiny) / (float(limits.eps) if array.ndim else 1.0)
    if largest > float(limits.max) or 0 < largest < smallest:
        raise InputError(
            f"{name} has entries up to {largest:.3g}, beyond what {jnp.dtype(dtype).name} can "
            "hold with its digits; use other units, or double precision "
            '(jax.config.update("jax_enable_x64", True)).'
        )
