"""Settings that are checked once, never change, and can be written down as JSON."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from ._errors import InputError
from ._names import matching_paths, nearest_name
from ._values import read_json, shown

_log = logging.getLogger("lazyrich")

SomeConfig = TypeVar("SomeConfig", bound="Config")

_LARGEST = 2**32 - 1
"""Of whole numbers: what seeds can be, and far above every size and number of steps."""


class AddedLater:
    """Marks a field that came after results were stored: ``Annotated[T, AddedLater()]``.

    At its default ``settings`` leaves it out, so that what was stored before is found.
    Let the default stand for "as before" alone, such as None: a value of a sweep that
    is equal to it would be missing from the sweep's axis.
    """


class Config(BaseModel):
    """Frozen, validated, JSON-serialisable settings; the base of every experiment's parts.

    Unknown fields, NaN and infinity are refused, and so is what would have to be guessed:
    text or true and false for a number, whole numbers that no computation could take.
    Everything that is wrong is said at once, in one sentence that names each field by its
    dotted path.

    Attributes:
        renamed: settings that have another place now: by the old name the new path, and
            the old default, which is still accepted.

    Raises:
        InputError: if a field is unknown, missing or out of its range.

    Example:
        >>> class Walk(Config):
        ...     n_steps: int = 10
        >>> Walk(n_step=3)
        Traceback (most recent call last):
        ...
        lazyrich._ground._errors.InputError: Walk cannot be made: n_step is not one of its
        fields (did you mean n_steps?).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    renamed: ClassVar[Mapping[str, tuple[str, Any]]] = {}

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(_sentence(error, type(self))) from None

    @model_validator(mode="wrap")
    @classmethod
    def _nothing_is_guessed(cls, given: Any, make: Any) -> Any:
        if not isinstance(given, Mapping):
            return make(given)
        old = {name: given[name] for name in cls.renamed if name in given}
        wrong = [_moved(cls, name) for name in old if old[name] != cls.renamed[name][1]]
        made = make({name: value for name, value in given.items() if name not in old})
        for name in type(made).model_fields.keys() & given.keys():
            wrong += _guessed((name,), given[name], getattr(made, name))
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return made

    @classmethod
    def from_json(cls: type[SomeConfig], text: str) -> SomeConfig:
        """The config that ``model_dump_json`` wrote, or that a person typed.

        Raises:
            InputError: if the text is not JSON, or not such a config.
        """
        try:
            tree = read_json(text)
        except InputError as error:
            cause = str(error)[0].lower() + str(error)[1:]
            raise InputError(f"{cls.__name__} cannot be made: {cause}") from None
        if not isinstance(tree, dict):
            raise InputError(f"{cls.__name__} cannot be made: the JSON is no object, {{…}}.")
        return cls(**tree)

    def changed(self: SomeConfig, changes: Mapping[str, Any]) -> SomeConfig:
        """The same config with some fields changed, by dotted path.

        Args:
            changes: such as ``{"scaling.alpha": 2.0, "seed": 1}``; the end of a path is
                enough where no other ends so. A new ``kind`` of a branch, such as
                ``{"net.kind": "mlp"}``, starts it afresh.

        Raises:
            InputError: if a path names no field, with the nearest that does, or if the
                changed config is not valid.

        Example:
            >>> class Walk(Config):
            ...     n_steps: int = 10
            >>> Walk().changed({"n_steps": 3}).n_steps
            3
        """
        tree = self.model_dump()
        paths = {name: self._present_path(full_path(name, tree)) for name in changes}
        for path, n in Counter(paths.values()).items():
            if n > 1:
                raise InputError(f"{path} is given {n} times; give it once.")
        changes = {paths[name]: value for name, value in changes.items()}
        is_kind = {path: path.split(".")[-1] == "kind" for path in changes}
        afresh = []
        for path in sorted(changes, key=lambda path: not is_kind[path]):
            *branches, leaf = path.split(".")
            node: Any = tree
            for branch in branches:
                node = node.get(branch) if isinstance(node, dict) else None
            if not isinstance(node, dict) or (leaf not in node and node not in afresh):
                hint = _hint(path, list(field_paths(tree)))
                raise InputError(f"{shown(path)[1:-1]} is not a field{hint}.")
            if is_kind[path] and node[leaf] != changes[path]:
                node.clear()
                afresh.append(node)
            node[leaf] = changes[path]
        return type(self)(**tree)

    def _present_path(self, path: str) -> str:
        *branches, leaf = path.split(".")
        part: Any = self
        for branch in branches:
            part = getattr(part, branch, None)
        if not isinstance(part, Config) or leaf not in part.renamed:
            return path
        say_renamed(path, part.renamed[leaf][0])
        return part.renamed[leaf][0]


@cache
def say_renamed(old: str, new: str) -> None:
    """Tell once that a setting has another name now."""
    _log.warning("The setting %s is now called %s; it was taken for that.", old, new)


def settings(config: Config) -> dict[str, Any]:
    """The fields as JSON values, without those added later that are at their default.

    Example:
        >>> from typing import Annotated
        >>> class Walk(Config):
        ...     n_steps: int = 10
        ...     wind: Annotated[float | None, AddedLater()] = None
        >>> settings(Walk()), settings(Walk(wind=0.0))
        ({'n_steps': 10}, {'n_steps': 10, 'wind': 0.0})
    """
    tree = config.model_dump(mode="json")
    _leave_out(config, tree)
    return tree


def _leave_out(value: Any, tree: Any) -> None:
    if isinstance(value, tuple | list):
        for part, dumped in zip(value, tree, strict=True):
            _leave_out(part, dumped)
    if not isinstance(value, Config):
        return
    for name, field in type(value).model_fields.items():
        part = getattr(value, name)
        is_later = any(isinstance(mark, AddedLater) for mark in field.metadata)
        if is_later and part == field.default:
            del tree[name]
        else:
            _leave_out(part, tree[name])


def field_paths(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted paths of every field of a dumped config, branches before leaves.

    Example:
        >>> list(field_paths({"seed": 0, "scaling": {"alpha": 1.0}}))
        ['seed', 'scaling', 'scaling.alpha']
    """
    for name, value in tree.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from field_paths(value, f"{prefix}{name}.")


def full_path(name: str, tree: Mapping[str, Any]) -> str:
    """The path of a field from an end of it that no other field has.

    Names that fit nothing, or more than one, come back as they are.

    Example:
        >>> full_path("alpha", {"scaling": {"alpha": 1.0}})
        'scaling.alpha'
    """
    fitting = matching_paths(name, field_paths(tree))
    return fitting[0] if len(fitting) == 1 else name


def _hint(name: str, known: list[str]) -> str:
    end = nearest_name(name, known, otherwise="the fields are")
    return f" ({end})" if end.endswith("?") else f"; {end}"


def _moved(config: type[Config], name: str) -> InitErrorDetails:
    kind = PydanticCustomError("renamed", config.renamed[name][0])  # ty: ignore[invalid-argument-type]
    return InitErrorDetails(type=kind, loc=(name,), input=None)


def _guessed(place: tuple[str | int, ...], given: Any, made: Any) -> list[InitErrorDetails]:
    """Where a value was made from one of another kind, or is a number beyond all use."""
    if isinstance(made, tuple | list) and isinstance(given, tuple | list):
        pairs = enumerate(zip(given, made, strict=False))
        return [one for k, pair in pairs for one in _guessed((*place, k), *pair)]
    wanted = ""
    is_truth = isinstance(given, bool | np.bool_)
    if isinstance(made, bool):
        wanted = "" if is_truth else "true or false"
    elif isinstance(made, int | float):
        if is_truth or not isinstance(given, int | float | np.number):
            wanted = "a number"
        elif isinstance(made, int) and abs(made) > _LARGEST:
            wanted = f"a whole number of at most {_LARGEST}"
    elif isinstance(made, str) and not _is_text(made):
        wanted = "text that can be written as UTF-8"
    if not wanted:
        return []
    return [InitErrorDetails(type=_kind_error(wanted), loc=place, input=given)]


def _kind_error(wanted: str) -> PydanticCustomError:
    return PydanticCustomError("kind", wanted)  # ty: ignore[invalid-argument-type]


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sentence(error: ValidationError, config: type[BaseModel]) -> str:
    return f"{config.__name__} cannot be made: {'; '.join(_causes(error, config))}."


def _causes(error: ValidationError, config: type[BaseModel]) -> Iterator[str]:
    for found in error.errors():
        kind = found["input"].get("kind") if isinstance(found["input"], dict) else None
        path = ".".join(str(part) for part in found["loc"] if part != kind)
        context = found.get("ctx", {})
        cause, wanted = context.get("error"), found["msg"].removeprefix("Input should be ")
        if found["type"] == "extra_forbidden":
            hint = _hint(path, list(config.model_fields)) if "." not in path else ""
            yield f"{shown(path)[1:-1]} is not one of its fields{hint}"
        elif found["type"] == "renamed":
            yield f"{path} is now called {found['msg']}; give that"
        elif isinstance(cause, Exception):
            inner = str(cause).rsplit(" cannot be made: ", 1)[-1].rstrip(".")
            yield f"{path}: {inner}" if path else inner
        elif found["type"] == "missing":
            yield f"{path} is missing"
        elif found["type"] == "union_tag_invalid":
            kinds = context["expected_tags"].replace("'", "")
            yield f"{path}.kind is {shown(context['tag'])}, wanted one of {kinds}"
        elif found["type"] == "union_tag_not_found":
            yield f"{path}.kind is missing"
        else:
            yield f"{path} is {shown(found['input'])}, wanted {wanted}"
