"""The table of claims, ``claims.toml``: every sentence that is tested, and its threshold."""

import tomllib
from importlib.resources import files
from typing import Any, NamedTuple

from ._verdict import Claim


class Change(NamedTuple):
    """A change to the table since it was first written.

    Attributes:
        date: of the change.
        claim: which claim, or which figures.
        reason: why.
    """

    date: str
    claim: str
    reason: str


def _read() -> dict[str, Any]:
    return tomllib.loads(
        files("lazyrich.paper").joinpath("claims.toml").read_text(encoding="utf-8")
    )


_TABLE = _read()

CLAIMS: tuple[Claim, ...] = tuple(Claim(**row) for row in _TABLE["claim"])
"""Every claim, in the order of the figures."""

HISTORY: tuple[Change, ...] = tuple(Change(**row) for row in _TABLE["history"])
"""Changes to the table, with their reasons."""


def claims_of(figure: str) -> dict[str, Claim]:
    """The claims of one figure by name."""
    return {claim.name: claim for claim in CLAIMS if claim.figure == figure}
