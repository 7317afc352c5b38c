"""The main findings: a few sentences, each with the claims that support it."""

from dataclasses import dataclass

from pydantic import ConfigDict

from lazyrich._base import InputError

from ._claims import CLAIMS, full_name, parse_table, table_text


@dataclass(frozen=True)
class Sentence:
    """A sentence on what was found.

    Attributes:
        text: plain English.
        claims: what it rests on, as "fig1: name".
    """

    text: str
    claims: tuple[str, ...]

    @property
    def figures(self) -> tuple[str, ...]:
        """The figures with the evidence."""
        return tuple(dict.fromkeys(name.partition(":")[0] for name in self.claims))


@dataclass(frozen=True)
class _Sentences:
    __pydantic_config__ = ConfigDict(extra="forbid")

    sentence: tuple[Sentence, ...]


def read_sentences(text: str) -> tuple[Sentence, ...]:
    """The sentences from the text of the file.

    Raises:
        InputError: if it cannot be read, or a sentence rests on nothing, or on a claim
            that is not in the table.
    """
    found = parse_table(text, _Sentences, "The sentences on what survives").sentence
    known = {full_name(claim) for claim in CLAIMS}
    for one in found:
        unknown = [name for name in one.claims if name not in known]
        if unknown or not one.claims:
            raise InputError(
                f"The sentence {one.text!r:.60} rests on {unknown or 'nothing'}; name claims of "
                "claims.toml as FIGURE: NAME."
            )
    return found


SURVIVES = read_sentences(table_text("survives.toml"))
"""The sentences, in their order."""
