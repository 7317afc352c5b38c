"""The type of what is read from JSON and written to it."""

from typing import Any

Json = Any
"""A JSON value: None, a bool, a number, a string, or a list or dictionary of JSON values.

Statically it is anything: a recursive union would have to be narrowed at every level.
"""
