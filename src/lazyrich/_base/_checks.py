"""Checks of numbers and shapes, each with one sentence on what is wrong."""

import numpy as np
from numpy.typing import ArrayLike

from ._concrete import concrete
from ._display import kind_of, shown
from ._errors import InputError


def require_finite(**values: object) -> None:
    """Refuse values that hold a NaN or an infinity.

    Traced values (inside ``jit`` or ``vmap``) cannot be looked at and pass.

    Args:
        **values: scalars or arrays by the name that the caller knows them by.

    Raises:
        InputError: naming the first value that is not finite.

    Example:
        >>> require_finite(alpha=1.0)
        >>> require_finite(alpha=float("nan"))
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: alpha is nan; it must be finite.
    """
    for name, value in values.items():
        array = concrete(value)
        if array is None:
            continue
        try:
            is_finite = np.isfinite(array)
        except TypeError:
            raise InputError(f"{name} is {value!r}; give real numbers.") from None
        if is_finite.all():
            continue
        if array.ndim == 0:
            raise InputError(f"{name} is {array}; it must be finite.")
        raise InputError(
            f"{name} holds {np.sum(~is_finite)} entries that are NaN or infinite; "
            "remove or repair them first."
        )


def require_positive(**values: object) -> None:
    """Refuse sizes and scales of zero or below.

    Args:
        **values: scalars or arrays by the name that the caller knows them by;
            traced values pass.

    Raises:
        InputError: naming the first value that is not above zero.

    Example:
        >>> require_positive(width=500)
        >>> require_positive(width=0)
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: width is 0; it must be above zero.
    """
    for name, value in values.items():
        array = concrete(value)
        try:
            is_sound = array is None or (array > 0).all()
        except TypeError:
            raise InputError(f"{name} is {value!r}; give real numbers.") from None
        _refuse_complex(name, array)
        if not is_sound:
            raise InputError(f"{name} is {value}; it must be above zero.")


def require_nonnegative(**values: object) -> None:
    """Refuse numbers below zero or not finite.

    Args:
        **values: scalars or arrays by the name that the caller knows them by; None and
            traced values pass.

    Raises:
        InputError: naming the first value that holds a negative or not finite number.

    Example:
        >>> require_nonnegative(ridge=0.0, cutoff=None)
        >>> require_nonnegative(ridge=-1.0)
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: ridge is -1.0; it must be zero or above.
    """
    for name, value in values.items():
        if value is None:
            continue
        require_finite(**{name: value})
        array = concrete(value)
        _refuse_complex(name, array)
        if array is not None and (array < 0).any():
            raise InputError(f"{name} is {value}; it must be zero or above.")


def _refuse_complex(name: str, array: np.ndarray | None) -> None:
    """Refuse complex numbers, which NumPy orders by their real part."""
    if array is not None and np.iscomplexobj(array):
        raise InputError(f"{name} is {shown(array)}; give real numbers.")


def require_shapes(expected: str, **arrays: ArrayLike) -> None:
    """Refuse arrays whose shapes disagree.

    Args:
        expected: one word of axis letters per array, in the order of ``arrays``,
            such as ``"nd n"``; equal letters must have equal lengths.
        **arrays: the arrays by name.

    Raises:
        InputError: with the shapes given and the shapes wanted.

    Example:
        >>> require_shapes("nd n", x=np.zeros((4, 2)), y=np.zeros(4))
        >>> require_shapes("nd n", x=np.zeros((4, 2)), y=np.zeros(3))
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: The shapes x (4, 2), y (3,) disagree;
        wanted x (n, d), y (n,) with equal letters of equal length.
    """
    lengths: dict[str, int] = {}
    words = dict(zip(arrays, expected.split(), strict=True))
    agree = True
    for name, word in words.items():
        shape = np.shape(arrays[name])
        agree = agree and len(shape) == len(word)
        for axis, length in zip(word, shape, strict=False):
            agree = agree and lengths.setdefault(axis, length) == length
    if agree:
        return
    given = ", ".join(f"{name} {np.shape(array)}" for name, array in arrays.items())
    expected_shapes = ", ".join(f"{name} {_spelled(word)}" for name, word in words.items())
    raise InputError(
        f"The shapes {given} disagree; wanted {expected_shapes} with equal letters of equal length."
    )


def _spelled(word: str) -> str:
    return f"({word},)" if len(word) == 1 else f"({', '.join(word)})"


def require_whole(**values: object) -> None:
    """Refuse numbers that are not whole, such as 2.5, 2.0 and True; traced values pass.

    Args:
        **values: single numbers by the name that the caller knows them by.

    Raises:
        InputError: naming the first value that is something else.

    Example:
        >>> require_whole(width=500, seed=np.int64(3))
        >>> require_whole(width=2.5)
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: width is 2.5; give a whole number.
    """
    for name, value in values.items():
        if isinstance(value, int) and not isinstance(value, bool):
            continue  # also one that no array could hold
        array = concrete(value)
        if array is not None and (array.ndim or array.dtype.kind not in "iu"):
            raise InputError(f"{name} is {shown(value)}; give a whole number.")


def require_seed(seed: object) -> None:
    """Refuse what is not the seed of a generator of random numbers.

    Args:
        seed: a whole number from 0, below 2⁶³, which is what every generator takes.

    Raises:
        InputError: saying what was given.

    Example:
        >>> require_seed(3)
        >>> require_seed(-1)
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: seed is -1; give a whole number from 0 to 2**63 - 1.
    """
    is_whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not is_whole or not 0 <= seed < 2**63:
        raise InputError(f"seed is {shown(seed)}; give a whole number from 0 to 2**63 - 1.")


def require_instance(kind: type, **values: object) -> None:
    """Refuse values that are no instances of a class, such as weights for their moments.

    Args:
        kind: the class.
        **values: by the name that the caller knows them by.

    Raises:
        InputError: naming the first value that is something else.

    Example:
        >>> require_instance(list, steps=[1])
        >>> require_instance(list, steps=(1,))
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: steps is a tuple; give list.
    """
    for name, value in values.items():
        if not isinstance(value, kind):
            raise InputError(f"{name} is {kind_of(value)}; give {kind.__name__}.")


def require_key(key: object) -> None:
    """Refuse what is no JAX random key: a number, several keys, or nothing.

    Args:
        key: of ``jax.random.key``, or the two numbers of ``jax.random.PRNGKey``; traced ones pass.

    Raises:
        InputError: saying what was given.

    Example:
        >>> import jax
        >>> require_key(jax.random.key(0))
        >>> require_key(3)
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: key is 3; give a JAX random key, such as
        jax.random.key(3).
    """
    import jax  # not before the command line has looked at the variables that JAX reads

    dtype = getattr(key, "dtype", None)
    shape = getattr(key, "shape", None)
    is_typed = dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)
    if (is_typed and shape == ()) or (not is_typed and shape == (2,) and dtype == np.uint32):
        return
    example = key if isinstance(key, int) and not isinstance(key, bool) and 0 <= key < 2**32 else 0
    raise InputError(
        f"key is {shown(key)}; give a JAX random key, such as jax.random.key({example})."
    )


def require_steps(eval_steps: ArrayLike) -> np.ndarray:
    """The evaluation steps as an array, if they are whole numbers from 0 that increase.

    Args:
        eval_steps: step numbers, concrete.

    Returns:
        The steps (s,), of the whole-number type in which they were given.

    Raises:
        InputError: if they are anything else.

    Example:
        >>> require_steps([0, 1, 10]).tolist()
        [0, 1, 10]
        >>> require_steps([3, 1])
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: eval_steps is [3, 1]; it must be a
        one-dimensional array of whole numbers from 0 that increase.
    """
    steps = np.asarray(eval_steps)
    is_whole = steps.ndim == 1 and steps.size > 0 and np.issubdtype(steps.dtype, np.integer)
    if not is_whole or steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise InputError(
            f"eval_steps is {eval_steps!r}; it must be a one-dimensional array of whole numbers "
            "from 0 that increase."
        )
    return steps
