"""A store: one file an experiment, each whole or absent, and packs that make it quick to open."""

import json
import logging
import os
import re
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from lazyrich._ground import InputError

from ._netcdf import FORMAT, DamagedFile, FutureFormat, decode, encode
from ._outcome import Outcome, package_version
from ._packs import Packed, encode_pack, read_index, read_outcomes
from ._place import Folder, Token, place_at

_log = logging.getLogger("lazyrich.sweeps")

_EXPERIMENTS, _PACKS, _ASIDE, _MARK = "experiments", "packs", "set-aside", "store.json"
_FILE_NAME = re.compile(r"[0-9a-f]{64}\.nc")
_PACK_ROWS = 1000
_PACK_BYTES = 64 * 2**20
_MAX_PACKS = 16
# Computed faster than this, a file lost in a power cut costs less than waiting for the disk.
_FLUSH_SECONDS = 0.2


class Kept(NamedTuple):
    """An experiment that a store holds, as far as it is known without its arrays.

    Attributes:
        token: tells this version of its file from another.
        facts: key, config, status, versions and the rest of an outcome but its arrays.
        packed: where it stands in a pack, or None.
    """

    token: Token
    facts: dict[str, Any]
    packed: Packed | None


class Store:
    """Experiments in files, by key.

    One process writes at a time to a file, and any number may work on one store: a file
    appears whole, under a name that only one content can have.

    Args:
        where: a folder, or an URL that fsspec opens; nothing is made before the first write.

    Raises:
        InputError: if a newer lazyrich made the store, or the place cannot be reached.
    """

    def __init__(self, where: str | os.PathLike[str]) -> None:
        self.where = os.fspath(where)
        self.place = place_at(where)
        self.kept: dict[str, Kept] = {}
        self.set_aside: list[str] = []
        self._fresh: dict[str, tuple[Token, Outcome]] = {}
        self._fresh_bytes = 0
        self._is_marked = self._check_mark()

    def __contains__(self, key: str) -> bool:
        return key in self.kept

    def scan(self, keys: Iterable[str] | None = None) -> None:
        """Learn what is there, and set aside what is damaged.

        Args:
            keys: look at these only; None looks at all.

        Raises:
            InputError: if a newer lazyrich wrote one of the files.
        """
        files = self._attempt(lambda: self.place.files(_EXPERIMENTS), "read")
        files = {name[:-3]: token for name, token in files.items() if _FILE_NAME.fullmatch(name)}
        wanted = files.keys() if keys is None else files.keys() & set(keys)
        packs = self._attempt(lambda: self.place.files(_PACKS), "read")
        packed: dict[str, Packed] = {}
        for pack in packs:
            with suppress(OSError):
                packed |= read_index(self.place.read(f"{_PACKS}/{pack}"), pack)
        for key in wanted:
            row = packed.get(key)
            if row is not None and row.token == files[key]:
                self.kept[key] = Kept(row.token, row.facts, row)
            else:
                self._look_at(key, files[key])
        if len(packs) > _MAX_PACKS:
            self._merge(packs, {key: row for key, row in packed.items() if key in files})

    def look_again(self, key: str) -> bool:
        """Whether another process has finished an experiment since the last look."""
        token = self._attempt(lambda: self.place.token(f"{_EXPERIMENTS}/{key}.nc"), "read")
        if token is not None:
            self._look_at(key, token)
        return token is not None and key in self.kept

    def require_writable(self) -> None:
        """Refuse a place that cannot be written, before anything is computed.

        Raises:
            InputError: saying why.
        """
        self._mark()
        probe = f".writable-{uuid.uuid4().hex}"
        self._attempt(lambda: self.place.write(probe, b"lazyrich"), "write")
        self._attempt(lambda: self.place.remove(probe), "write")
        if isinstance(self.place, Folder):
            self.place.sweep_up(_EXPERIMENTS)

    def save(self, outcome: Outcome) -> None:
        """Write one experiment, whole or not at all.

        Raises:
            InputError: if the place refuses, with everything that was there left as it was.
        """
        content = encode(outcome)
        name = f"{_EXPERIMENTS}/{outcome.key}.nc"
        flush = outcome.wall_seconds > _FLUSH_SECONDS
        token = self._attempt(lambda: self.place.write(name, content, flush=flush), "write")
        self._remember(outcome, token)

    def outcomes(self, keys: Iterable[str]) -> dict[str, Outcome]:
        """Experiments with their arrays, by key; those that are not there are left out."""
        found: dict[str, Outcome] = {}
        by_pack: dict[str, list[Packed]] = {}
        single = []
        for key in keys:
            if key in self._fresh:
                found[key] = self._fresh[key][1]
            elif key in self.kept and (row := self.kept[key].packed) is not None:
                by_pack.setdefault(row.pack, []).append(row)
            elif key in self.kept:
                single.append(key)
        for pack, rows in by_pack.items():
            try:
                found |= read_outcomes(self.place.read(f"{_PACKS}/{pack}"), rows)
            except (OSError, KeyError, ValueError, RuntimeError):
                single += [row.facts["key"] for row in rows]
        for key in single:
            with suppress(OSError, DamagedFile):
                found[key] = decode(self.place.read(f"{_EXPERIMENTS}/{key}.nc"), key)
        return found

    def pack(self) -> None:
        """Put what is not in a pack yet into one; where nothing can be written, do nothing."""
        if not self._fresh:
            return
        name = f"{uuid.uuid4().hex}.h5"
        try:
            content = encode_pack(list(self._fresh.values()))
            self.place.write(f"{_PACKS}/{name}", content)
        except OSError:
            return
        for key, row in read_index(content, name).items():
            self.kept[key] = Kept(row.token, row.facts, row)
        self._fresh.clear()
        self._fresh_bytes = 0

    def _merge(self, packs: Iterable[str], rows: dict[str, Packed]) -> None:
        """One pack instead of many; experiments that are gone are left out."""
        by_pack: dict[str, list[Packed]] = {}
        for row in rows.values():
            by_pack.setdefault(row.pack, []).append(row)
        try:
            members = []
            for pack, packed in by_pack.items():
                outcomes = read_outcomes(self.place.read(f"{_PACKS}/{pack}"), packed)
                members += [(row.token, outcomes[row.facts["key"]]) for row in packed]
            name = f"{uuid.uuid4().hex}.h5"
            content = encode_pack(members)
            self.place.write(f"{_PACKS}/{name}", content)
            for pack in packs:
                self.place.remove(f"{_PACKS}/{pack}")
        except (OSError, KeyError, ValueError, RuntimeError):
            return
        for key, row in read_index(content, name).items():
            if key in self.kept and self.kept[key].token == row.token:
                self.kept[key] = Kept(row.token, row.facts, row)

    def _remember(self, outcome: Outcome, token: Token) -> None:
        self.kept[outcome.key] = Kept(token, outcome.facts, None)
        self._fresh[outcome.key] = (token, outcome)
        n_bytes = sum(record.values.nbytes for record in outcome.records.values())
        self._fresh_bytes += n_bytes
        if len(self._fresh) >= _PACK_ROWS or self._fresh_bytes > _PACK_BYTES:
            self.pack()

    def _look_at(self, key: str, token: Token) -> None:
        """Read one file: it is sound and kept, or damaged and set aside."""
        name = f"{_EXPERIMENTS}/{key}.nc"
        try:
            self._remember(decode(self.place.read(name), key), token)
        except FileNotFoundError:
            return
        except FutureFormat as error:
            raise InputError(
                f"{self.where}: {name} was written by a newer lazyrich ({error}; this one knows "
                f"{FORMAT}); upgrade lazyrich or choose another store."
            ) from None
        except OSError as error:
            raise self._refusal(error, "read") from error
        except DamagedFile as damage:
            aside = f"{_ASIDE}/{key}.nc.{uuid.uuid4().hex[:8]}"
            try:
                self.place.move(name, aside)
            except OSError:
                _log.warning("%s: %s is left out: %s.", self.where, name, damage)
                return
            self.set_aside.append(aside)
            _log.warning(
                "%s: %s is set aside as %s and will be computed again: %s.",
                *(self.where, name, aside, damage),
            )

    def _check_mark(self) -> bool:
        content = self._attempt(lambda: self.place.read(_MARK), "read", absent=b"")
        try:
            number = json.loads(content)["format"] if content else FORMAT
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{self.where}/{_MARK} is not a store's; if this is a store, remove that file "
                "(the experiments stay), else choose another folder."
            ) from None
        if not isinstance(number, int) or number > FORMAT:
            raise InputError(
                f"{self.where} is a store of format {number}, made by a newer lazyrich; this one "
                f"({package_version()}) knows format {FORMAT}: upgrade, or choose another store."
            )
        return bool(content)

    def _mark(self) -> None:
        if not self._is_marked:
            mark = json.dumps({"format": FORMAT, "made_by": f"lazyrich {package_version()}"})
            self._attempt(lambda: self.place.write(_MARK, mark.encode()), "write")
            self._is_marked = True

    def _attempt(self, action: Callable[[], Any], what: str, absent: Any = None) -> Any:
        try:
            return action()
        except FileNotFoundError as error:
            if what == "read":
                return absent
            raise self._refusal(error, what) from error
        except InputError:
            raise
        except Exception as error:  # storage of every kind raises errors of its own
            raise self._refusal(error, what) from error

    def _refusal(self, error: Exception, what: str) -> InputError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        cure = "make room or give another store" if what == "write" else "look at the store"
        return InputError(
            f"The store {self.where} cannot be {'written' if what == 'write' else 'read'} "
            f"({reason}); {cure}, then run again: every finished experiment is kept."
        )
