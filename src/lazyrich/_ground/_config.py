"""Settings that are checked once, never change, and can be written down as JSON."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ._errors import InputError

SomeConfig = TypeVar("SomeConfig", bound="Config")


class AddedLater:
    """Marks a field that came after results were stored: ``Annotated[T, AddedLater()]``.

    At its default ``settings`` leaves it out, so that what was stored before is found.
    Let the default stand for "as before" alone, such as None: a value of a sweep that
    is equal to it would be missing from the sweep's axis.
    """


class Config(BaseModel):
    """Frozen, validated, JSON-serialisable settings; the base of every experiment's parts.

    Unknown fields, NaN and infinity are refused. Everything that is wrong is said at
    once, in one sentence that names each field by its dotted path.

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

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(_sentence(error, type(self))) from None

    @classmethod
    def from_json(cls: type[SomeConfig], text: str) -> SomeConfig:
        """The config that ``model_dump_json`` wrote, or that a person typed.

        Raises:
            InputError: if the text is not JSON, or not such a config.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InputError(_sentence(error, cls)) from None

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
        changes = {full_path(name, tree): value for name, value in changes.items()}
        is_kind = {path: path.split(".")[-1] == "kind" for path in changes}
        afresh = []
        for path in sorted(changes, key=lambda path: not is_kind[path]):
            *branches, leaf = path.split(".")
            node: Any = tree
            for branch in branches:
                node = node.get(branch) if isinstance(node, dict) else None
            if not isinstance(node, dict) or (leaf not in node and node not in afresh):
                raise InputError(f"{path} is not a field{_nearest(path, list(field_paths(tree)))}.")
            if is_kind[path] and node[leaf] != changes[path]:
                node.clear()
                afresh.append(node)
            node[leaf] = changes[path]
        return type(self)(**tree)


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
    paths = list(field_paths(tree))
    fitting = [path for path in paths if path.endswith(f".{name}")]
    return fitting[0] if name not in paths and len(fitting) == 1 else name


def _nearest(name: str, known: list[str]) -> str:
    by_leaf = {path.rsplit(".", 1)[-1]: path for path in reversed(known)}
    close = difflib.get_close_matches(name, known, 1, 0.5) or [
        by_leaf[leaf]
        for leaf in difflib.get_close_matches(name.rsplit(".", 1)[-1], by_leaf, 1, 0.6)
    ]
    return f" (did you mean {close[0]}?)" if close else f"; the fields are {', '.join(known)}"


def _sentence(error: ValidationError, config: type[BaseModel]) -> str:
    return f"{config.__name__} cannot be made: {'; '.join(_causes(error, config))}."


def _causes(error: ValidationError, config: type[BaseModel]) -> Iterator[str]:
    for found in error.errors():
        kind = found["input"].get("kind") if isinstance(found["input"], dict) else None
        path = ".".join(str(part) for part in found["loc"] if part != kind)
        context = found.get("ctx", {})
        cause, wanted = context.get("error"), found["msg"].removeprefix("Input should be ")
        if found["type"] == "extra_forbidden":
            nearest = _nearest(path, list(config.model_fields)) if "." not in path else ""
            yield f"{path} is not one of its fields{nearest}"
        elif isinstance(cause, Exception):
            inner = str(cause).rsplit(" cannot be made: ", 1)[-1].rstrip(".")
            yield f"{path}: {inner}" if path else inner
        elif found["type"] == "missing":
            yield f"{path} is missing"
        elif found["type"] == "json_invalid":
            yield f"the text is not JSON ({context.get('error', wanted)})"
        elif found["type"] == "union_tag_invalid":
            kinds = context["expected_tags"].replace("'", "")
            yield f"{path}.kind is {context['tag']!r}, wanted one of {kinds}"
        elif found["type"] == "union_tag_not_found":
            yield f"{path}.kind is missing"
        else:
            yield f"{path} is {found['input']!r}, wanted {wanted}"
