"""The packs of a store: which are valid, what they contain, and when they are rewritten."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from lazyrich._base import BrokenSeal, InputError

from ._merged import (
    Packed,
    encode_pack,
    is_pack,
    is_pack_name,
    new_pack_name,
    read_index,
    read_outcomes,
)
from ._result import Outcome
from ._storage import MOST_BYTES, Storage, Token

_log = logging.getLogger("lazyrich.sweeps")

PACKS = "packs"
_PACK_ROWS = 1000
_PACK_BYTES = 64 * 2**20
_MAX_SMALL_PACKS = 16
_FAULTS = (OSError, BrokenSeal, InputError)


class PackCache:
    """Copies of experiments that are read quickly, from packs or from this process's memory.

    Args:
        place: where the store lies.
    """

    def __init__(self, place: Storage) -> None:
        self.place = place
        self._fresh: dict[str, tuple[Token, Outcome]] = {}
        self._fresh_bytes = 0
        self._rows: dict[str, Packed] = {}
        self._sizes: dict[str, int] = {}
        self._unsound: list[str] = []

    @property
    def is_full(self) -> bool:
        """Whether no more is to be held in memory."""
        return len(self._fresh) >= _PACK_ROWS or self._fresh_bytes > _PACK_BYTES

    def scan(self, files: Mapping[str, Token | None]) -> dict[str, Packed]:
        """The experiments in sound packs whose own files are as they were then, by key.

        Args:
            files: the experiments' files by key.
        """
        for pack, token in self.place.files(PACKS).items():
            if not is_pack_name(pack) or token is None or (token[0] or 0) > MOST_BYTES:
                continue
            try:
                content = self.place.read(f"{PACKS}/{pack}")
                index = read_index(content, pack)
            except FileNotFoundError:  # merged by another process in this moment
                continue
            except Exception:  # a damaged pack costs time only; HDF5 has errors of many kinds
                self._unsound.append(pack)
                continue
            self._sizes[pack] = len(content)
            self._rows |= {key: row for key, row in index.items() if row.token == files.get(key)}
        return self._rows

    def hold(self, token: Token, outcome: Outcome) -> None:
        """Keep an experiment in memory, as far as there is room."""
        if not self.is_full:
            self._fresh[outcome.key] = (token, outcome)
            self._fresh_bytes += _size_of(outcome)

    def outcomes(self, rows: Mapping[str, Packed | None]) -> dict[str, Outcome]:
        """What is in memory or in sound packs, by key.

        Args:
            rows: where each experiment stands, by key; None if in no pack.
        """
        found: dict[str, Outcome] = {}
        by_pack: dict[str, list[Packed]] = {}
        for key, row in rows.items():
            if key in self._fresh:
                found[key] = self._fresh[key][1]
            elif row is not None:
                by_pack.setdefault(row.pack, []).append(row)
        for pack, members in by_pack.items():
            with suppress(Exception):  # the experiments' own files are read then
                found |= read_outcomes(self.place.read(f"{PACKS}/{pack}"), members)
        return found

    def pack(
        self, loose: Mapping[str, Token], read: Callable[[str], Outcome | None]
    ) -> dict[str, Packed]:
        """Write experiments into packs, as many as fit the disk.

        Args:
            loose: those that are in no pack, by key.
            read: reads one from its own file.

        Returns:
            Where they stand now, by key.
        """
        found: dict[str, Packed] = {}
        batch: list[tuple[Token, Outcome]] = []
        n_bytes = 0
        try:
            for key, token in loose.items():
                row = self._fresh.get(key)
                outcome = row[1] if row is not None else read(key)
                if outcome is None:
                    continue
                batch.append((token, outcome))
                n_bytes += _size_of(outcome)
                if len(batch) >= _PACK_ROWS or n_bytes > _PACK_BYTES:
                    found |= self._write(batch)
                    batch, n_bytes = [], 0
            found |= self._write(batch)
            if sum(size < _PACK_BYTES // 2 for size in self._sizes.values()) > _MAX_SMALL_PACKS:
                found |= self.merge()
            else:
                self._remove_unsound()
        except _FAULTS as error:  # packs are copies: every experiment is in its own file
            _log.debug("no pack was written: %s", error)
        self._fresh.clear()
        self._fresh_bytes = 0
        return found

    def merge(self) -> dict[str, Packed]:
        """Merge small packs into large ones, leaving out deleted experiments and damaged packs.

        Returns:
            Where the experiments stand now, by key.
        """
        small = [pack for pack, size in self._sizes.items() if size < _PACK_BYTES // 2]
        found: dict[str, Packed] = {}
        try:
            batch: list[tuple[Token, Outcome]] = []
            n_bytes = 0
            for pack in small if len(small) > 1 else []:
                rows = {key: row for key, row in self._rows.items() if row.pack == pack}
                outcomes = read_outcomes(self.place.read(f"{PACKS}/{pack}"), rows.values())
                for key, row in rows.items():
                    batch.append((row.token, outcomes[key]))
                    n_bytes += _size_of(outcomes[key])
                    if n_bytes > _PACK_BYTES:
                        found |= self._write(batch)
                        batch, n_bytes = [], 0
            found |= self._write(batch)
            for pack in small if len(small) > 1 else []:
                self._remove(pack)
            self._remove_unsound()
        except _FAULTS as error:  # packs are copies: every experiment is in its own file
            _log.debug("no packs were merged: %s", error)
        return found

    def _write(self, batch: list[tuple[Token, Outcome]]) -> dict[str, Packed]:
        if not batch:
            return {}
        name, content = new_pack_name(), encode_pack(batch)
        self.place.write(f"{PACKS}/{name}", content)
        self._sizes[name] = len(content)
        written = read_index(content, name)
        self._rows |= written
        return written

    def _remove_unsound(self) -> None:
        for pack in self._unsound:
            self._remove(pack)
        self._unsound.clear()

    def _remove(self, pack: str) -> None:
        """Remove a pack, if the file of that name is one that this package wrote."""
        with suppress(FileNotFoundError):
            if is_pack(self.place.read(f"{PACKS}/{pack}")):
                self.place.remove(f"{PACKS}/{pack}")
        self._sizes.pop(pack, None)


def _size_of(outcome: Outcome) -> int:
    return sum(record.values.nbytes for record in outcome.records.values())
