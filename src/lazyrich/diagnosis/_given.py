"""What a caller gives, checked before anything is measured with it."""

import operator
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np

from lazyrich._base import InputError, kind_of

_FEWEST_ROWS = 4


def whole_step(step: object, name: str = "step") -> int:
    """A number of optimizer steps.

    Args:
        step: as it was given; whole numbers of any library.
        name: by which the caller knows it.

    Returns:
        The number, 0 or above.

    Raises:
        InputError: if it is anything else.

    Example:
        >>> whole_step(3)
        3
    """
    try:
        number = -1 if isinstance(step, bool) else operator.index(step)  # ty: ignore[invalid-argument-type]
    except TypeError:
        number = -1
    if number < 0:
        raise InputError(f"{name} is {step!r}; it must be a whole number of steps from 0.")
    return number


def require_rows(n: int) -> None:
    """Refuse so few rows that a kernel centred over them has hardly any entries left.

    Args:
        n: number of rows.

    Raises:
        InputError: with fewer than 4 rows.

    Example:
        >>> require_rows(4)
    """
    if n < _FEWEST_ROWS:
        raise InputError(
            f"x has {n} row{'s' if n > 1 else ''}; a kernel that is centred over rows needs "
            f"{_FEWEST_ROWS} or more, and some dozens are better."
        )


def require_different_rows(leaves: Sequence[np.ndarray]) -> None:
    """Refuse a batch that repeats so few rows: its centred kernel would be rounding alone.

    Args:
        leaves: arrays with one row for each example.

    Raises:
        InputError: with fewer than 4 rows that differ.

    Example:
        >>> require_different_rows([np.eye(4)])
    """
    n = len(leaves[0])
    seen = {b"".join(np.asarray(leaf[k]).tobytes() for leaf in leaves) for k in range(n)}
    if len(seen) < _FEWEST_ROWS:
        raise InputError(
            f"x has {n} rows, of which {len(seen)} differ; a kernel that is centred over rows "
            f"needs {_FEWEST_ROWS} different ones or more, and some dozens are better."
        )


def require_kind(value: object, kind: type, name: str) -> None:
    """Refuse an argument of another class than the one that is meant for it.

    Args:
        value: the argument; None passes.
        kind: the class.
        name: by which the caller knows it.

    Raises:
        InputError: naming both.

    Example:
        >>> require_kind(None, int, "settings")
    """
    if value is not None and not isinstance(value, kind):
        raise InputError(f"{name} is {kind_of(value)}; give a lazyrich.diagnosis.{kind.__name__}.")


@contextmanager
def rows_taken(name: str) -> Generator[None]:
    """Turn what a network raises at rows that it cannot take into a sentence.

    Args:
        name: of the rows.

    Returns:
        A context manager.

    Raises:
        InputError: with the beginning of what the network said.

    Example:
        >>> with rows_taken("x_test"):
        ...     1 / 0
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: The network cannot take x_test (ZeroDivisionError:
        division by zero); give rows in the form that it takes.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the network is the user's, and may raise anything
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"The network cannot take {name} ({type(error).__name__}: {said}); give rows in the "
            "form that it takes."
        ) from error
