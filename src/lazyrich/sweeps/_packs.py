"""Many experiments in one file, so that ten thousand open in a second.

A pack is a cache and nothing more: whatever it holds stands in the experiments' own
files too, and a pack that is missing, damaged or out of date costs time only. It holds,
for each file, the token (size and time) of the version that it was read from.
"""

import io
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np

from lazyrich.training import Record

from ._outcome import Outcome
from ._place import Token

PACK_FORMAT = 1


class Packed(NamedTuple):
    """Where one experiment stands in a pack.

    Attributes:
        token: of the file that it was read from.
        facts: everything but the arrays.
        pack: name of the pack.
        family: which group of experiments with the same kinds of records.
        start: its first row in the family's arrays.
        length: how many rows.
    """

    token: Token
    facts: dict[str, Any]
    pack: str
    family: int
    start: int
    length: int


def encode_pack(rows: Sequence[tuple[Token, Outcome]]) -> bytes:
    """The bytes of a pack."""
    families: dict[str, list[tuple[Token, Outcome]]] = {}
    for token, outcome in rows:
        families.setdefault(_layout(outcome), []).append((token, outcome))
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["pack_format"] = PACK_FORMAT
        for number, (layout, members) in enumerate(families.items()):
            group = file.create_group(str(number))
            index = [[token, outcome.facts, len(outcome.steps)] for token, outcome in members]
            group["layout"] = np.frombuffer(layout.encode(), np.uint8)
            group["index"] = np.frombuffer(json.dumps(index).encode(), np.uint8)
            group["steps"] = np.concatenate([outcome.steps for _, outcome in members])
            for place, name in enumerate(members[0][1].records):
                group[f"record_{place}"] = np.concatenate(
                    [outcome.records[name].values for _, outcome in members]
                )
    return content.getvalue()


def read_index(content: bytes, pack: str) -> dict[str, Packed]:
    """What a pack holds, by key; nothing if it cannot be read."""
    found = {}
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            if file.attrs["pack_format"] != PACK_FORMAT:
                return {}
            for number, group in file.items():
                start = 0
                for token, facts, length in json.loads(group["index"][()].tobytes()):
                    found[facts["key"]] = Packed(token, facts, pack, int(number), start, length)
                    start += length
    except (OSError, KeyError, ValueError, RuntimeError, TypeError):
        return {}
    return found


def read_outcomes(content: bytes, wanted: Iterable[Packed]) -> dict[str, Outcome]:
    """Experiments from one pack, by key; their arrays are views of the pack's.

    Raises:
        OSError, KeyError, ValueError or RuntimeError: if the pack is damaged.
    """
    found = {}
    by_family: dict[int, list[Packed]] = {}
    for packed in wanted:
        by_family.setdefault(packed.family, []).append(packed)
    with h5py.File(io.BytesIO(content), "r") as file:
        for number, members in by_family.items():
            group: Any = file[str(number)]
            layout = json.loads(group["layout"][()].tobytes())
            steps = group["steps"][()]
            records = [
                (name, group[f"record_{place}"][()], unit, tuple(axes), _tuples(labels))
                for place, (name, unit, axes, labels) in enumerate(layout["records"])
            ]
            for packed in members:
                rows = slice(packed.start, packed.start + packed.length)
                found[packed.facts["key"]] = Outcome(
                    **packed.facts,
                    steps=steps[rows],
                    records={
                        name: Record(values[rows], unit, axes, labels)
                        for name, values, unit, axes, labels in records
                    },
                )
    return found


def _layout(outcome: Outcome) -> str:
    """What must be equal for arrays to be laid end to end."""
    return json.dumps(
        {
            "steps": outcome.steps.dtype.str,
            "records": [
                [name, record.unit, record.axes, record.coordinates]
                for name, record in outcome.records.items()
            ],
            "shapes": [
                [record.values.dtype.str, record.values.shape[1:]]
                for record in outcome.records.values()
            ],
        }
    )


def _tuples(labels: list) -> tuple:
    return tuple(None if one is None else tuple(one) for one in labels)
