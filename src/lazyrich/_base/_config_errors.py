"""What is wrong with the settings of a config, as one sentence."""

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from ._display import shown
from ._names import nearest_name

_LARGEST = 2**32 - 1
"""Of whole numbers: what seeds can be, and far above every size and number of steps."""

_MOST_CAUSES = 10


def nearest_field(name: str, known: list[str], absent: Mapping[str, str]) -> str:
    """The end of a sentence on an unknown field: why it is none, or which fields there are."""
    if name in absent:
        return f" ({absent[name]})"
    end = nearest_name(name, known, otherwise="the fields are")
    return f" ({end})" if end.endswith("?") else f"; {end}"


def rename_error(old: str, new: str) -> InitErrorDetails:
    """The error of a setting that was given by a name which it has no longer."""
    kind = PydanticCustomError("renamed", new)  # ty: ignore[invalid-argument-type]
    return InitErrorDetails(type=kind, loc=(old,), input=None)


def conversion_errors(
    place: tuple[str | int, ...], given: object, made: object
) -> list[InitErrorDetails]:
    """Where a value was made from one of another kind, or is a number beyond all use."""
    if isinstance(made, tuple | list) and isinstance(given, tuple | list):
        pairs = enumerate(zip(given, made, strict=False))
        return [one for k, pair in pairs for one in conversion_errors((*place, k), *pair)]
    expected = ""
    is_truth = isinstance(given, bool | np.bool_)
    if isinstance(made, bool):
        expected = "" if is_truth else "true or false"
    elif isinstance(made, int | float):
        if is_truth or not isinstance(given, int | float | np.number):
            expected = "a number"
        elif isinstance(made, int) and abs(made) > _LARGEST:
            expected = f"a whole number of at most {_LARGEST}"
    elif isinstance(made, str) and not _is_text(made):
        expected = "text that can be written as UTF-8"
    if not expected:
        return []
    return [InitErrorDetails(type=_kind_error(expected), loc=place, input=given)]


def _kind_error(expected: str) -> PydanticCustomError:
    return PydanticCustomError("kind", expected)  # ty: ignore[invalid-argument-type]


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def sentence_of(error: ValidationError, config: type[BaseModel]) -> str:
    """What is wrong with the settings of a config, up to ten faults in one sentence."""
    causes = list(islice(_causes(error, config), _MOST_CAUSES))
    n_more = error.error_count() - len(causes)
    causes += [f"and {n_more} more"] if n_more else []
    return f"{config.__name__} cannot be made: {'; '.join(causes)}."


def _causes(error: ValidationError, config: type[BaseModel]) -> Iterator[str]:
    for entry in error.errors():
        kind = entry["input"].get("kind") if isinstance(entry["input"], dict) else None
        path = ".".join(str(part) for part in entry["loc"] if part != kind)
        context = entry.get("ctx", {})
        cause, expected = context.get("error"), entry["msg"].removeprefix("Input should be ")
        if entry["type"] == "extra_forbidden":
            absent = getattr(config, "absent", {})
            hint = nearest_field(path, list(config.model_fields), absent) if "." not in path else ""
            yield f"{shown(path)[1:-1]} is not one of its fields{hint}"
        elif entry["type"] == "renamed":
            yield f"{path} is now called {entry['msg']}; give that"
        elif isinstance(cause, Exception):
            inner = str(cause).rsplit(" cannot be made: ", 1)[-1].rstrip(".")
            yield f"{path}: {inner}" if path else inner
        elif entry["type"] == "missing":
            yield f"{path} is missing"
        elif entry["type"] == "union_tag_invalid":
            kinds = context["expected_tags"].replace("'", "")
            yield f"{path}.kind is {shown(context['tag'])}, wanted one of {kinds}"
        elif entry["type"] == "union_tag_not_found":
            yield f"{path}.kind is missing"
        else:
            wanted = expected.partition(", unable to parse")[0]
            if entry["type"] == "int_parsing_size":
                wanted = f"a whole number of at most {_LARGEST}"
            yield f"{path} is {shown(entry['input'])}, wanted {wanted}"
