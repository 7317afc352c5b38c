"""Published rows as they are read back: every field, their checksum, and that they fit together."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import cast, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from lazyrich._base import Json

from ._rows import Row


class DamagedRows(ValueError):
    """Rows that ``publish`` does not write; the message says what is wrong."""


def checksum(about: Mapping[str, Json], rows: Sequence[Row]) -> str:
    """SHA-256 of what a file says; how its JSON is laid out does not count."""
    text = json.dumps([about, rows], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def require_sound(about: Mapping[str, Json], found: Mapping[str, Json]) -> list[Row]:
    """The rows of a file, if they are what was published.

    Args:
        about: edition, task and arm that the file must be of.
        found: its content. Files of earlier versions have no checksum.

    Raises:
        DamagedRows: if they are not.
    """
    for name, wanted in about.items():
        if found.get(name) != wanted:
            raise DamagedRows(f"its {name} is {str(found.get(name))[:64]!r}, wanted {wanted!r}")
    unknown = found.keys() - about.keys() - {"made_by", "rows", "sha256"}
    rows = found.get("rows")
    if unknown or not isinstance(rows, list):
        raise DamagedRows(f"it has a field {min(unknown)!r}" if unknown else "it has no rows")
    for place, row in enumerate(rows):
        _require_row(row, place)
    sound = cast("list[Row]", rows)
    if "sha256" in found and found["sha256"] != checksum(about, sound):
        raise DamagedRows("it does not match its checksum")
    _require_whole(sound, about)
    return sound


def _require_row(row: Json, place: int) -> None:
    try:
        _model().model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "it"
        raise DamagedRows(f"row {place}: {field}: {first['msg']}") from None
    except RecursionError:
        raise DamagedRows(f"row {place} is nested too deeply") from None


@cache
def _model() -> type[BaseModel]:
    """The fields of ``Row`` and their types; a number is neither text nor a truth value."""
    hints = get_type_hints(Row)
    fields: dict[str, tuple[type, object]] = {
        name: (hint, ... if name in Row.__required_keys__ else None) for name, hint in hints.items()
    }
    strict = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return create_model("StoredRow", __config__=strict, **fields)  # ty: ignore[no-matching-overload]


def _require_whole(rows: Sequence[Row], about: Mapping[str, Json]) -> None:
    """Each trial once, within its steps, and with the same seeds in each study."""
    for place, row in enumerate(rows):
        if row["edition"] != about["edition"]:
            raise DamagedRows(f"row {place} is of another edition")
        if row["time"] is not None and not 0 <= row["time"] <= row["max_steps"]:
            raise DamagedRows(f"row {place}: its time is {row['time']}")
    if len({row["key"] for row in rows}) < len(rows):
        raise DamagedRows("it has a trial twice")
    seeds: dict[int, Counter[int]] = {}
    for row in rows:
        if row["phase"] == "fresh":
            seeds.setdefault(row["study"], Counter())[row["seed"]] += 1
    if len({tuple(sorted(one.items())) for one in seeds.values()}) > 1:
        raise DamagedRows("its studies have different fresh seeds")
