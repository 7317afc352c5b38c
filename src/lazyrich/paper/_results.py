"""``claims.json``: the results of all figures, by figure and preset."""

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lazyrich._base import (
    InputError,
    Json,
    only_one_at,
    read_file,
    read_json,
    reason_of,
    set_aside,
)

from ._claims import CLAIMS
from ._files import write_json
from ._value import Value
from ._verdict import LEFT_OUT, Verdict, judge

CLAIMS_FILE = "claims.json"
_EDITION = 2
_MOST_BYTES = 100_000_000

Preset = Literal["authors", "paper", "quick"]
PRESETS: dict[str, str] = {
    "authors": "the authors' own draw",
    "paper": "the authors' settings",
    "quick": "wide settings",
}
"""Every set of settings, and what it is called."""


@dataclass(frozen=True)
class Result:
    """What one figure came to under one preset.

    Attributes:
        seeds: the seeds that were run.
        settings: the settings in a line.
        provenance: versions, machine and command, by name.
        notes: sentences on what went wrong.
        verdicts: of every claim.

    Example:
        >>> Result((0, 1, 2), "D=30, N=100", {"jax": "0.10"}, (), ()).seeds
        (0, 1, 2)
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    seeds: tuple[int, ...]
    settings: str
    provenance: dict[str, str]
    notes: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


Results = Mapping[str, Mapping[str, Result]]
"""Results by figure and preset, in the order of ``PRESETS``."""

_RESULT = TypeAdapter(Result)


def read_results(out: Path = Path("reproduction")) -> Results:
    """The claims file of earlier calls of ``reproduce``: by figure and preset.

    Args:
        out: the folder that it wrote.

    Returns:
        For each figure what it came to under each preset that was computed.

    Raises:
        InputError: if there is no claims file, it is one of the first edition, or
            anything in it cannot be read; the sentence says what.

    Example:
        >>> import tempfile
        >>> read_results(Path(tempfile.mkdtemp()))
        Traceback (most recent call last):
        lazyrich._base...InputError: There is no ...; run `lazyrich reproduce all --out ...` first.
    """
    path = out / CLAIMS_FILE
    if not path.exists():
        command = shlex.join(["lazyrich", "reproduce", "all", "--out", str(out)])
        raise InputError(f"There is no {path}; run `{command}` first.")
    results, faults = _read(path)
    if faults:
        raise InputError(
            f"{path} cannot be read: {faults[0]}. Reproduce the figure again, which sets the file "
            "aside, or mend it."
        )
    return results


def preset_folder(out: Path, preset: str) -> Path:
    """Where a preset's pictures and data lie: ``out`` itself for "quick", the default."""
    return out if preset == "quick" else out / preset


def require_second_edition(out: Path) -> None:
    """Refuse a folder with results of the first edition, before anything is computed.

    Raises:
        InputError: if its claims file is one.
    """
    path = out / CLAIMS_FILE
    if path.exists():
        _read(path)


def add_result(out: Path, figure: str, preset: str, result: Result) -> str:
    """Put a result beside those already in the claims file.

    What cannot be read is never replaced by less: the file is set aside under another
    name first, and the results that can be read are kept.

    Returns:
        A sentence about what was set aside; "" if nothing was.

    Raises:
        InputError: if the file is of the first edition, or the disk refuses.
    """
    with only_one_at(out):  # figures may be reproduced by several processes
        return _added(out / CLAIMS_FILE, figure, preset, result)


def _added(path: Path, figure: str, preset: str, result: Result) -> str:
    said = ""
    results: dict[str, Mapping[str, Result]] = {}
    if path.exists() or path.is_symlink():
        found, faults = _read(path)
        results = dict(found)
        if faults:
            aside = set_aside(path)
            said = f"{path} could not be read ({faults[0]}) and is now {aside.name}."
            said += f" Results of {', '.join(results)} were taken over." if results else ""
    results[figure] = {**results.get(figure, {}), preset: result}
    write_json(path, {"edition": _EDITION, "figures": as_json(results)})
    return said


def as_json(results: Results) -> dict[str, Json]:
    """Results as the claims file has them; infinities and NaN are text.

    Args:
        results: by figure and preset.

    Returns:
        Figures in the order of their numbers; of each, the presets that were computed.

    Example:
        >>> tree = as_json({"fig1": {"quick": Result((0,), "N=100", {}, (), ())}})
        >>> tree["fig1"]["quick"]["settings"]
        'N=100'
    """
    return {
        figure: {
            preset: _RESULT.dump_python(results[figure][preset], mode="json")
            for preset in PRESETS
            if preset in results[figure]
        }
        for figure in sorted(results, key=_number)
    }


def _read(path: Path) -> tuple[Results, list[str]]:
    """All results that can be read, and what is wrong with the rest."""
    try:
        content = read_json(read_file(path, _MOST_BYTES))
    except OSError as error:
        return {}, [reason_of(error)]
    except InputError as error:  # also where a key stands twice: one of its two would be lost
        said = str(error).rstrip(".")
        return {}, [said[0].lower() + said[1:]]
    figures = content.get("figures") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(figures, dict):
        return {}, ["it has no figures by name"]
    if "edition" not in content:
        raise InputError(
            f"{path} holds results of the first edition, which judged claims by another rule; "
            "nothing was changed. Choose another folder with --out, or move it away."
        )
    if content["edition"] != _EDITION:
        return {}, [f"its edition is {content['edition']!r:.20}, wanted {_EDITION}"]
    results: dict[str, dict[str, Result]] = {}
    faults = []
    known = {claim.figure for claim in CLAIMS}
    for figure, by_preset in figures.items():
        if figure not in known or not isinstance(by_preset, dict):
            faults.append(f"{figure!r:.40} is not a figure with results by preset")
            continue
        for preset, found in by_preset.items():
            try:
                results.setdefault(figure, {})[preset] = _result(figure, preset, found)
            except ValueError as error:
                faults.append(f"{figure}, preset {preset!r:.40}, {_first(error)}")
    return {figure: found for figure, found in results.items() if found}, faults


def _result(figure: str, preset: str, found: Json) -> Result:
    """One result, in which every verdict follows from its values."""
    if preset not in PRESETS:
        raise ValueError(f"which is none of {', '.join(PRESETS)}")
    result = _RESULT.validate_json(json.dumps(found))
    verdicts = []
    for verdict in result.verdicts:
        if verdict.claim.figure != figure:
            raise ValueError(f"verdict on a claim of {verdict.claim.figure!r:.40}")
        values = [
            Value(value, reason)
            for value, reason in zip(verdict.values, verdict.reasons, strict=True)
        ]
        again = judge(verdict.claim, values, is_one_draw=preset == "authors")
        if not _are_equal(verdict, again):
            raise ValueError(
                f"verdict on {verdict.claim.name!r:.60}, which does not follow from its values"
            )
        verdicts.append(replace(verdict, outcome=again.outcome))
    return replace(result, verdicts=tuple(verdicts))


def _are_equal(one: Verdict, other: Verdict) -> bool:
    """Whether a verdict agrees, to rounding, with another on the same values."""
    numbers = [
        (v.median, *v.interval, v.coverage, *v.share_interval, float(v.n_met)) for v in (one, other)
    ]
    # What was not computed had no name of its own at first.
    names = {other.outcome, *(["undecided"] if other.outcome in LEFT_OUT else [])}
    is_same = one.outcome in names and one.reasons == other.reasons
    return is_same and all(
        a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9)
        for a, b in zip(*numbers, strict=True)
    )


def _first(error: ValueError) -> str:
    """What is wrong first, and in which field."""
    if not isinstance(error, ValidationError):
        return str(error)
    [first, *_] = error.errors(include_url=False)
    place = ".".join(map(str, first["loc"]))
    return f"{place or 'the whole'}: {first['msg']}"


def _number(figure: str) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, figure))
    return int(digits or 0), figure
