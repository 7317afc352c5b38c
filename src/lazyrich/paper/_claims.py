"""The table of claims, ``claims.toml``: every sentence that is tested, and its threshold."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lazyrich._base import InputError

from ._verdict import Claim


@dataclass(frozen=True)
class Change:
    """A change to the table since it was first written.

    Attributes:
        date: of the change.
        about: which claims, figures or part of the rule.
        reason: why.
        claims: those that were added or changed, as "fig1: name".
        after: what had been seen of them by then: "runs", "pilots" or "" for nothing.
    """

    date: str
    about: str
    reason: str
    claims: tuple[str, ...] = ()
    after: Literal["", "pilots", "runs"] = ""

    @property
    def figures(self) -> tuple[str, ...]:
        """The figures whose claims it added or changed."""
        return tuple(dict.fromkeys(name.partition(":")[0] for name in self.claims))


@dataclass(frozen=True)
class ClaimsTable:
    """What the file holds.

    Attributes:
        claim: every claim, in the order of the figures.
        history: every change.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    claim: tuple[Claim, ...]
    history: tuple[Change, ...]


def read_table(text: str) -> ClaimsTable:
    """The table from its text.

    Raises:
        InputError: if it is not TOML, a field is unknown, missing or of the wrong kind, a
            claim has no threshold or occurs twice, or the history names a claim that is
            not there.
    """
    table = parse_table(text, ClaimsTable, "The table of claims")
    names = [full_name(one) for one in table.claim]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"The table of claims has {twice!r} twice; give each claim its own name.")
    for change in table.history:
        for name in change.claims:
            if name not in names:
                raise InputError(
                    f"The history of the table of claims names {name!r}, which is not in it."
                )
    return table


def full_name(claim: Claim) -> str:
    """Figure and name, as the history has it: "fig1: train loss falls first"."""
    return f"{claim.figure}: {claim.name}"


T = TypeVar("T")


def parse_table(text: str, kind: type[T], what: str) -> T:
    """A frozen dataclass from TOML.

    Raises:
        InputError: if it is not TOML, or a field is unknown, missing or of the wrong kind.
    """
    try:
        as_json = json.dumps(tomllib.loads(text), default=str)
        return TypeAdapter(kind).validate_json(as_json)
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InputError(f"{what} cannot be read: {_first(error)}") from None


def _first(error: Exception) -> str:
    """What is wrong first, and where."""
    if not isinstance(error, ValidationError):
        return f"{error}."
    [first, *_] = error.errors()
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']} (it is {first['input']!r:.60})."


def table_text(name: str) -> str:
    """The text of a table that comes with the package."""
    return files("lazyrich.paper").joinpath(name).read_text(encoding="utf-8")


_TABLE = read_table(table_text("claims.toml"))

CLAIMS: tuple[Claim, ...] = _TABLE.claim
"""Every claim, in the order of the figures."""

HISTORY: tuple[Change, ...] = _TABLE.history
"""Changes to the table, with their reasons."""

LATE_CLAIMS: Mapping[str, str] = {
    name: change.after for change in HISTORY if change.after for name in change.claims
}
"""Claims that were added or changed after something had been seen of them: "runs" or "pilots"."""


def claims_of(figure: str) -> dict[str, Claim]:
    """The claims of one figure by name."""
    return {claim.name: claim for claim in CLAIMS if claim.figure == figure}
