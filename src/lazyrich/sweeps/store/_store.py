"""A store: one file per experiment, written atomically, and packs for opening it quickly."""

import json
import logging
import os
import re
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from io import BufferedIOBase
from typing import NamedTuple, TypeVar

from lazyrich._base import FileKind, InputError, read_json, reason_of

from ._cache import PACKS, PackCache
from ._codec import FORMAT, DamagedFile, FutureFormat, decode, encode
from ._merged import Packed
from ._result import Facts, Outcome, package_version
from ._storage import MOST_BYTES, Token, place_at

_log = logging.getLogger("lazyrich.sweeps")
T = TypeVar("T")

_EXPERIMENTS, _ASIDE, _MARK = "experiments", "set-aside", "store.json"
_FILE_NAME = re.compile(r"[0-9a-f]{64}\.nc")
_HDF5 = b"\x89HDF\r\n\x1a\n"
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
    facts: Facts
    packed: Packed | None


class Store:
    """Experiments in files, by key.

    One process writes at a time to a file, and any number may work on one store: a file
    appears whole, under a name that only one content can have. Opening, ``scan`` and
    ``outcomes`` write nothing; ``save``, ``pack`` and ``tidy`` do.

    Args:
        where: a folder, or a URL that fsspec opens; nothing is made before the first write.

    Attributes:
        kept: what is known of each experiment that is there, by key.
        damaged: why a file cannot be read, by key.
        set_aside: names under which damaged files were kept.

    Raises:
        InputError: if a newer lazyrich made the store, or the place cannot be reached.

    Example:
        >>> store = Store("memory://store-example")
        >>> store.scan()
        >>> len(store.kept)
        0
    """

    def __init__(self, where: str | os.PathLike[str]) -> None:
        self.where = os.fspath(where)
        self.place = place_at(where)
        self.kept: dict[str, Kept] = {}
        self.damaged: dict[str, str] = {}
        self.set_aside: list[str] = []
        self._cache = PackCache(self.place)
        self._irregular: set[str] = set()
        self._is_marked = self._check_mark()

    def __contains__(self, key: str) -> bool:
        return key in self.kept

    def scan(self, keys: Iterable[str] | None = None) -> None:
        """Learn what is there; what is damaged goes into ``damaged``, with the reason.

        Args:
            keys: look at these only; None looks at all.

        Raises:
            InputError: if a newer lazyrich wrote one of the files, or a folder of the
                store is a link.
        """
        found = self._attempt(lambda: self.place.files(_EXPERIMENTS), "read")
        files = {name[:-3]: token for name, token in found.items() if _FILE_NAME.fullmatch(name)}
        wanted = files.keys() if keys is None else files.keys() & set(keys)
        packed = self._attempt(lambda: self._cache.scan(files), "read")
        for key in wanted:
            token, row = files[key], packed.get(key)
            if token is None:
                self.damaged[key] = "it is not a regular file"
                self._irregular.add(key)
            elif row is not None:
                self.kept[key] = Kept(token, row.facts, row)
            else:
                self._look_at(key, token)

    def warn_of_damaged(self) -> None:
        """Log the files that are left out because they are damaged."""
        for key, reason in self.damaged.items():
            cure = "Computing it again, or `lazyrich sweep --tidy`, sets it aside."
            if key in self._irregular:
                cure = "Move it away."
            _log.warning("%s: %s is left out: %s. %s", self.where, _name_of(key), reason, cure)

    def look_again(self, key: str) -> bool:
        """Whether another process has finished an experiment since the last look."""
        token = self._attempt(lambda: self.place.token(_name_of(key)), "read")
        if token is not None:
            self._look_at(key, token)
        return token is not None and key in self.kept

    def require_writable(self, keys: Iterable[str] = ()) -> None:
        """Refuse a place that cannot be written, before anything is computed.

        Args:
            keys: experiments that will be saved; damaged files of theirs are set aside.

        Raises:
            InputError: saying why.
        """
        keys = set(keys)
        for key in self._irregular & keys:
            raise InputError(
                f"{self.where}: {_name_of(key)} is a folder, a link or a device where the file of "
                "an experiment belongs; move it away, then run again."
            )
        self._mark()
        self._attempt(partial(self.place.try_writing, _EXPERIMENTS), "write")
        self._remove_unfinished()
        for key in self.damaged.keys() & keys:
            self._attempt(partial(self._put_aside, key), "write")

    def save(self, outcome: Outcome) -> None:
        """Write one experiment, whole or not at all; a damaged file of its name is set aside.

        Raises:
            InputError: if the place refuses, with everything that was there left as it was.
        """
        if outcome.key in self.damaged:
            self._attempt(lambda: self._put_aside(outcome.key), "write")
        token = self._attempt(lambda: self._write(outcome), "write")
        self._remember(outcome, token)
        if self._cache.is_full:
            self.pack()

    def outcomes(self, keys: Iterable[str]) -> dict[str, Outcome]:
        """Experiments with their arrays, by key; those that are not there are left out."""
        rows = {key: self.kept[key].packed for key in keys if key in self.kept}
        found = self._cache.outcomes(rows)
        for key in rows:
            if key not in found and (outcome := self._read(key)) is not None:
                found[key] = outcome
        return found

    def pack(self) -> None:
        """Put what is in no pack yet into packs; where nothing can be written, do nothing."""
        with suppress(InputError):
            self._remove_unfinished()
        loose = {key: kept.token for key, kept in self.kept.items() if kept.packed is None}
        for key, row in self._cache.pack(loose, self._read).items():
            if key in self.kept:
                self.kept[key] = Kept(self.kept[key].token, row.facts, row)

    def tidy(self) -> None:
        """Set aside all that is damaged, and make few packs of all experiments.

        Raises:
            InputError: if the place refuses, or there is no store.
        """
        self.scan()
        if not self.kept and not self.damaged:
            raise InputError(
                f"There are no experiments in {self.where}; give the folder of a store."
            )
        self.require_writable(self.damaged.keys() - self._irregular)
        self.pack()
        for key, row in self._cache.merge().items():
            if key in self.kept:
                self.kept[key] = Kept(self.kept[key].token, row.facts, row)

    def _write(self, outcome: Outcome) -> Token:
        def is_sound(file: BufferedIOBase) -> bool:
            try:
                return bool(decode(file.read(MOST_BYTES + 1), outcome.key))
            except (DamagedFile, FutureFormat):
                return False

        kind = FileKind("this experiment", is_sound)
        flush = outcome.wall_seconds > _FLUSH_SECONDS
        return self.place.write(_name_of(outcome.key), encode(outcome), kind=kind, flush=flush)

    def _remove_unfinished(self) -> None:
        for folder, begin in {"": b"{", _EXPERIMENTS: _HDF5, PACKS: _HDF5}.items():
            self._attempt(partial(self.place.remove_unfinished, folder, begin), "write")

    def _put_aside(self, key: str) -> None:
        if self.look_again(key):  # another process has computed it meanwhile
            return
        name, aside = _name_of(key), f"{_ASIDE}/{key}.nc.{uuid.uuid4().hex[:8]}"
        self.place.move(name, aside)
        self.set_aside.append(aside)
        _log.warning(
            "%s: %s is set aside as %s: %s.", self.where, name, aside, self.damaged.pop(key)
        )

    def _remember(self, outcome: Outcome, token: Token) -> None:
        self.kept[outcome.key] = Kept(token, outcome.facts, None)
        self._cache.hold(token, outcome)

    def _look_at(self, key: str, token: Token) -> None:
        """Read one file: it is sound and kept, or it is damaged."""
        outcome = self._read(key)
        if outcome is not None:
            self._remember(outcome, token)

    def _read(self, key: str) -> Outcome | None:
        """An experiment from its own file; None if it is not there, or damaged."""
        name = _name_of(key)
        try:
            outcome = decode(self.place.read(name), key)
        except FileNotFoundError:
            return None
        except FutureFormat as error:
            raise InputError(
                f"{self.where}: {name} was written by a newer lazyrich ({error}; this one reads "
                f"{FORMAT}); upgrade lazyrich or choose another store."
            ) from None
        except DamagedFile as damage:
            self.damaged[key] = str(damage)
            return None
        except Exception as error:  # storage of every kind raises errors of its own
            raise self._refusal(error, "read") from error
        self.damaged.pop(key, None)
        return outcome

    def _content_of_the_mark(self) -> bytes | None:
        try:
            return self.place.read(_MARK)
        except FileNotFoundError:
            return None

    def _check_mark(self) -> bool:
        content = self._attempt(self._content_of_the_mark, "read")
        try:
            mark = {"format": FORMAT} if content is None else read_json(content)
        except InputError:
            mark = None
        number = mark.get("format") if isinstance(mark, dict) else None
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise InputError(
                f"{self.where}/{_MARK} is not a store's; if this is a store, remove that file "
                "(the experiments stay), else choose another folder."
            )
        if number > FORMAT:
            raise InputError(
                f"{self.where} is a store of format {number}, made by a newer lazyrich; this one "
                f"({package_version()}) reads format {FORMAT}: upgrade, or choose another store."
            )
        return content is not None

    def _mark(self) -> None:
        if not self._is_marked:
            mark = json.dumps({"format": FORMAT, "made_by": f"lazyrich {package_version()}"})
            kind = FileKind("a store's mark", lambda file: file.read(1000) == mark.encode())
            self._attempt(lambda: self.place.write(_MARK, mark.encode(), kind=kind), "write")
            self._is_marked = True

    def _attempt(self, action: Callable[[], T], what: str) -> T:
        try:
            return action()
        except InputError:
            raise
        except Exception as error:  # storage of every kind raises errors of its own
            raise self._refusal(error, what) from error

    def _refusal(self, error: Exception, what: str) -> InputError:
        cure = "make room or give another store" if what == "write" else "look at the store"
        name = getattr(error, "filename", None)
        is_inside = isinstance(name, str) and "/" not in name and name[:1] not in ("", ".")
        reason = f"{name}: {reason_of(error)}" if is_inside else reason_of(error)
        return InputError(
            f"The store {self.where} cannot be {'written' if what == 'write' else 'read'} "
            f"({reason}); {cure}, then run again: every finished experiment is kept."
        )


def _name_of(key: str) -> str:
    return f"{_EXPERIMENTS}/{key}.nc"
