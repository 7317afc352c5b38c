"""Parse typed values: one parser for settings, axes, filters and files."""

import json
import re
from collections.abc import Iterable
from typing import NoReturn

from ._display import shown
from ._errors import InputError
from ._json import Json

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_WORDS = {"true": True, "false": False, "null": None}
_MOST_DIGITS = 300
_MOST_LEVELS = 32


def read_value(text: str) -> Json:
    """One value as it is typed: a number, ``true``, ``false``, ``null``, JSON, or a word.

    Numbers are those of JSON and what else is plain decimal or scientific notation, such
    as ``.5``, ``5.`` and ``1e-3``. Anything that only some programs would take for a
    number (``1_000``, digits of other scripts, ``nan``, ``inf``) is refused and never
    becomes a word. Lists, objects and quoted strings are JSON.

    Args:
        text: one value; spaces around it do not count.

    Returns:
        A number, truth value, None, text, list or object.

    Raises:
        InputError: if the text is empty, a number in another notation, or broken JSON.

    Example:
        >>> [read_value(text) for text in (".5", "1e3", "8", "true", "mlp", "[1, 2]")]
        [0.5, 1000.0, 8, True, 'mlp', [1, 2]]
        >>> read_value("1_000")
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: '1_000' is not a number in plain notation; write it
        like 1000, 0.5 or 1e-3.
    """
    bare = text.strip(" ")
    if not bare:
        raise InputError("A value is empty; write it after the sign, such as alpha=4.")
    if bare[0] in '[{"' and bare == bare.strip():
        return read_json(bare)
    if bare in _WORDS:
        return _WORDS[bare]
    if _NUMBER.fullmatch(bare):
        return _whole(bare) if _WHOLE.fullmatch(bare) else _real(bare)
    if _is_some_number(bare):
        raise InputError(
            f"{shown(text)} is not a number in plain notation; write it like 1000, 0.5 or 1e-3."
        )
    if not bare.isprintable():
        raise InputError(
            f"{shown(text)} holds a line break or a control character; leave that out."
        )
    return bare


def read_json(text: str | bytes) -> Json:
    """The value of a JSON text that has only one reading.

    Args:
        text: the JSON; bytes are read as UTF-8.

    Returns:
        A number, truth value, None, text, list or object.

    Raises:
        InputError: if it is not UTF-8 or not JSON, names a key twice in one object, holds NaN, an
            infinity or a number beyond the largest float, or is nested deeper than 32.

    Example:
        >>> read_json('{"seed": 1, "widths": [8, 8]}')
        {'seed': 1, 'widths': [8, 8]}
    """
    try:
        value = json.loads(
            text.decode() if isinstance(text, bytes) else text,
            object_pairs_hook=_without_repeats,
            parse_constant=_no_constant,
            parse_float=_real,
            parse_int=_whole,
        )
    except RecursionError:
        raise _too_deep() from None
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError("The text is not JSON (it is not UTF-8 text).") from None
    except ValueError as error:
        raise InputError(f"The text is not JSON ({error}).") from None
    _require_shallow(value)
    return value


def read_changes(texts: Iterable[str], *, flag: str = "--set") -> dict[str, Json]:
    """Settings by name, from ``NAME=VALUE`` texts.

    Args:
        texts: as they are typed.
        flag: the option that they were given to, for the sentence.

    Returns:
        The values by name, in their order.

    Raises:
        InputError: if a name or a value is missing, a value cannot be read, or a name is
            given twice.

    Example:
        >>> read_changes(["scaling.alpha=4", "loss=mse"])
        {'scaling.alpha': 4, 'loss': 'mse'}
    """
    changes: dict[str, Json] = {}
    for name, value in (_name_and_value(text, flag) for text in texts):
        if name in changes:
            raise InputError(f"{flag} names {shown(name)[1:-1]} twice; give it once.")
        changes[name] = value
    return changes


def _name_and_value(text: str, flag: str) -> tuple[str, Json]:
    name, equals, given = text.partition("=")
    name = name.strip(" ")
    if not (name and equals and given):
        raise InputError(f"{flag} got {shown(text)}; write it as NAME=VALUE, such as alpha=4.")
    try:
        return name, read_value(given)
    except InputError as error:
        raise InputError(f"{flag} cannot read the value of {shown(name)[1:-1]}: {error}") from None


def value_text(value: object) -> str:
    """A value as it can be typed, so that ``read_value`` gives it again; text stays as it is.

    Args:
        value: a number, truth value, None, text, list or object.

    Returns:
        The text.

    Example:
        >>> value_text([1, True]), value_text("mlp")
        ('[1, true]', 'mlp')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_whole_number(text: str, *, name: str) -> int:
    """A whole number in ASCII digits; nothing is rounded.

    Args:
        text: as it is typed.
        name: what it is for, as the subject of the sentence.

    Returns:
        The number.

    Raises:
        InputError: if the text is anything else, or has over 300 digits.

    Example:
        >>> read_whole_number("12", name="--seeds")
        12
    """
    if not _WHOLE.fullmatch(text) or len(text) > _MOST_DIGITS:
        raise InputError(f"{name} is {shown(text)}; wanted a whole number, such as 3.")
    return int(text)


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise InputError(f"A whole number has {len(text)} digits; give a smaller one.")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if abs(value) == float("inf"):
        raise InputError(f"{shown(text)} is beyond the largest number that a computer holds.")
    return value


def _is_some_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise InputError(f"The value {name} is not a number of JSON; give a finite number.")


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for name, value in pairs:
        if name in tree:
            raise InputError(f"The key {shown(name)} stands twice in one object; give it once.")
        tree[name] = value
    return tree


def _require_shallow(value: object) -> None:
    level = [value]
    for _ in range(_MOST_LEVELS + 1):
        level = [
            part
            for one in level
            if isinstance(one, list | dict)
            for part in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> InputError:
    return InputError(
        f"The JSON is nested deeper than {_MOST_LEVELS} levels; no setting needs that."
    )
