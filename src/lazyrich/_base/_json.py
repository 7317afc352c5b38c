"""The type of what is read from JSON and written to it."""

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
else:
    Json = object  # run-time checkers need not walk through every tree
"""A JSON value: None, a bool, a number, a string, or a list or dictionary of JSON values."""
