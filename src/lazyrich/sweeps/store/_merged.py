"""Many experiments in one file, so that ten thousand can be opened in about a second.

A pack is a cache and nothing more: whatever it holds stands in the experiments' own
files too, and a pack that is missing, damaged or out of date costs time only. It holds,
for each file, the token (size and time) of the version that it was read from. It ends
with a checksum of all of it, which is checked before anything of it is used.
"""

import io
import json
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import h5py
import numpy as np

from lazyrich._base import BrokenSeal, has_seal, seal, unseal
from lazyrich.training import Record

from ._result import Facts, Outcome
from ._storage import Token

PACK_FORMAT = 3
"""Others are not read, only replaced: 1 had no checksum, 2 had other names of records."""

_SEAL = "merged experiments"
_NAME = re.compile(r"[0-9a-f]{32}\.h5")


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
    facts: Facts
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
    return seal(content.getvalue(), _SEAL)


def new_pack_name() -> str:
    """A name that no pack has."""
    return f"{uuid.uuid4().hex}.h5"


def is_pack_name(name: str) -> bool:
    """Whether a file of this name may be a pack."""
    return _NAME.fullmatch(name) is not None


def is_pack(content: bytes) -> bool:
    """Whether this package wrote these bytes as a pack, sound or not, of any format."""
    if has_seal(io.BytesIO(content), _SEAL):
        return True
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return "pack_format" in file.attrs
    except Exception:  # HDF5 meets what it cannot read with any of a dozen errors
        return False


def read_index(content: bytes, pack: str) -> dict[str, Packed]:
    """What a pack holds, by key.

    Raises:
        BrokenSeal: if it is damaged, or of a format without a checksum.
    """
    found = {}
    with h5py.File(io.BytesIO(unseal(content, _SEAL)), "r") as file:
        if file.attrs["pack_format"] != PACK_FORMAT:
            raise BrokenSeal("it is of another format")
        for number, group in file.items():
            start = 0
            for token, facts, length in json.loads(group["index"][()].tobytes()):
                found[facts["key"]] = Packed(token, facts, pack, int(number), start, length)
                start += length
    return found


def read_outcomes(content: bytes, wanted: Iterable[Packed]) -> dict[str, Outcome]:
    """Experiments from one pack, by key; their arrays are views of the pack's.

    Raises:
        BrokenSeal: if the pack is damaged.
    """
    found = {}
    by_family: dict[int, list[Packed]] = {}
    for packed in wanted:
        by_family.setdefault(packed.family, []).append(packed)
    with h5py.File(io.BytesIO(unseal(content, _SEAL)), "r") as file:
        for number, members in by_family.items():
            group = file[str(number)]
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
