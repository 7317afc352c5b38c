"""Argument types that are parsed by the common parser of typed values."""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token


def _whole(kind: object, tokens: Sequence[Token]) -> int:
    from lazyrich._base import read_whole_number  # loads jax

    return read_whole_number(tokens[0].value, name=tokens[0].keyword or "the number")


WholeNumber = Annotated[int, Parameter(converter=_whole)]
"""A whole number that is not rounded: 1.5 is refused."""
