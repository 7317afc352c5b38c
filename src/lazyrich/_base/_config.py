"""Settings that are checked once, never change, and can be written down as JSON."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import ClassVar, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    model_validator,
)

from ._config_errors import conversion_errors, nearest_field, rename_error, sentence_of
from ._display import shown
from ._errors import InputError
from ._json import Json
from ._names import field_paths, full_path
from ._values import read_json

_log = logging.getLogger("lazyrich")

SomeConfig = TypeVar("SomeConfig", bound="Config")


class AddedLater:
    """Marks a field that came after results were stored: ``Annotated[T, AddedLater()]``.

    At its default ``settings`` leaves it out, so that what was stored before is found.
    Let the default stand for "as before" alone, such as None: a value of a sweep that
    is equal to it would be missing from the sweep's axis.

    Example:
        >>> from typing import Annotated
        >>> class Walk(Config):
        ...     wind: Annotated[float | None, AddedLater()] = None
        >>> settings(Walk())
        {}
    """


class Config(BaseModel):
    """Frozen, validated, JSON-serialisable settings; the base of every experiment's parts.

    Unknown fields, NaN and infinity are refused, and so is what would have to be guessed:
    text or true and false for a number, whole numbers that no computation could take.
    What is wrong is said at once, up to ten faults, in one sentence that names each field by
    its dotted path.

    Attributes:
        renamed: settings that have another place now: by the old name the new path, and
            the old default, which is still accepted.
        former_names: fields that have another name now, the old name first; a value given
            under the old name is taken.
        absent: settings of other configs that this one does not have, with the reason.

    Raises:
        InputError: if a field is unknown, missing or out of its range.

    Example:
        >>> class Walk(Config):
        ...     n_steps: int = 10
        >>> Walk(n_step=3)
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: Walk cannot be made: n_step is not one of its
        fields (did you mean n_steps?).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    renamed: ClassVar[Mapping[str, tuple[str, object]]] = {}
    former_names: ClassVar[Mapping[str, str]] = {}
    absent: ClassVar[Mapping[str, str]] = {}

    def __init__(self, /, **fields: object) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(sentence_of(error, type(self))) from None

    @model_validator(mode="wrap")
    @classmethod
    def _nothing_is_guessed(
        cls: type[SomeConfig], given: object, make: Callable[[object], SomeConfig]
    ) -> SomeConfig:
        if not isinstance(given, Mapping):
            return make(given)
        given = _with_present_names(given, cls.former_names)
        old = {name: given[name] for name in cls.renamed if name in given}
        errors = [
            rename_error(name, cls.renamed[name][0])
            for name in old
            if old[name] != cls.renamed[name][1]
        ]
        config = make({name: value for name, value in given.items() if name not in old})
        for name in type(config).model_fields.keys() & given.keys():
            errors += conversion_errors((name,), given[name], getattr(config, name))
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return config

    @classmethod
    def from_json(cls: type[SomeConfig], text: str) -> SomeConfig:
        """The config that ``model_dump_json`` wrote, or that a user wrote.

        Args:
            text: a JSON object of the fields.

        Returns:
            The config.

        Raises:
            InputError: if the text is not JSON, or not such a config.
        """
        try:
            tree = read_json(text)
        except InputError as error:
            cause = str(error)[0].lower() + str(error)[1:]
            raise InputError(f"{cls.__name__} cannot be made: {cause}") from None
        if not isinstance(tree, dict):
            raise InputError(f"{cls.__name__} cannot be made: the JSON is not an object, {{…}}.")
        return cls(**tree)

    def changed(self: SomeConfig, changes: Mapping[str, object]) -> SomeConfig:
        """The same config with some fields changed, by dotted path.

        Args:
            changes: such as ``{"scaling.alpha": 2.0, "seed": 1}``; the end of a path is
                enough where no other ends so. A new ``kind`` of a branch, such as
                ``{"net.kind": "mlp"}``, starts it afresh.

        Returns:
            A new config; this one is left as it is.

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
                names = [name for name in paths if paths[name] == path]
                raise InputError(f"{' and '.join(names)} are one setting, {path}; give it once.")
        changes = {paths[name]: value for name, value in changes.items()}
        is_kind = {path: path.split(".")[-1] == "kind" for path in changes}
        afresh = []
        for path in sorted(changes, key=lambda path: not is_kind[path]):
            *branches, leaf = path.split(".")
            node: object = tree
            for branch in branches:
                node = node.get(branch) if isinstance(node, dict) else None
            if not isinstance(node, dict) or (leaf not in node and node not in afresh):
                hint = nearest_field(path, list(field_paths(tree)), self.absent)
                raise InputError(f"{shown(path)[1:-1]} is not a field{hint}.")
            if is_kind[path] and node[leaf] != changes[path]:
                node.clear()
                afresh.append(node)
            node[leaf] = changes[path]
        return type(self)(**tree)

    def _present_path(self, path: str) -> str:
        *branches, leaf = path.split(".")
        part: object = self
        for branch in branches:
            part = getattr(part, branch, None)
        if isinstance(part, Config) and leaf in part.former_names:
            present = ".".join([*branches, part.former_names[leaf]])
        elif isinstance(part, Config) and leaf in part.renamed:
            present = part.renamed[leaf][0]
        else:
            return path
        say_renamed(path, present)
        return present


def _with_present_names(
    given: Mapping[str, object], former_names: Mapping[str, str]
) -> Mapping[str, object]:
    old = [name for name in former_names if name in given]
    for name in old:
        if former_names[name] in given:
            raise InputError(
                f"{name} and {former_names[name]} are both given and are one setting; give "
                f"{former_names[name]}"
            )
        say_renamed(name, former_names[name])
    return {former_names.get(name, name): value for name, value in given.items()} if old else given


@cache
def say_renamed(old: str, new: str) -> None:
    """Log once that a setting has another name now.

    Args:
        old: the name that was given.
        new: the path that is used instead.

    Example:
        >>> say_renamed("task.label_scale", "scaling.label_scale")
    """
    _log.warning("The setting %s is now called %s; it was taken for that.", old, new)


def settings(config: Config) -> dict[str, Json]:
    """The fields as JSON values, without those added later that are at their default.

    Args:
        config: any config.

    Returns:
        By field name numbers, text, truth values, None, and lists and objects of these.

    Example:
        >>> from typing import Annotated
        >>> class Walk(Config):
        ...     n_steps: int = 10
        ...     wind: Annotated[float | None, AddedLater()] = None
        >>> settings(Walk()), settings(Walk(wind=0.0))
        ({'n_steps': 10}, {'n_steps': 10, 'wind': 0.0})
    """
    # As what they are, so that of a subclass in a field of its base class nothing is left out.
    tree = config.model_dump(mode="json", serialize_as_any=True)
    _leave_out(config, tree)
    return tree


def _leave_out(value: object, tree: Json) -> None:
    if isinstance(value, tuple | list) and isinstance(tree, list):
        for part, dumped in zip(value, tree, strict=True):
            _leave_out(part, dumped)
    if not isinstance(value, Config) or not isinstance(tree, dict):
        return
    for name, default in _added_later(type(value)):
        if getattr(value, name) == default:
            del tree[name]
    for name, part in tree.items():
        if isinstance(part, dict | list):
            _leave_out(getattr(value, name), part)


@cache
def _added_later(kind: type[Config]) -> tuple[tuple[str, object], ...]:
    """Names and defaults of the fields that were added later."""
    return tuple(
        (name, field.default)
        for name, field in kind.model_fields.items()
        if any(isinstance(mark, AddedLater) for mark in field.metadata)
    )
