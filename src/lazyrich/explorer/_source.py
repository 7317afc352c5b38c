"""Open what the page is to show: a store, a run, a figure's file or a diagnosis."""

import html
import io
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

from lazyrich._base import InputError, Json, read_file, read_json, reason_of, require_extra

from ._document import Document, document_of_diagnosis, document_of_outcomes, document_of_panel

_MOST_BYTES = 2**28
_WANTED = (
    "give the folder of a store, of lazyrich train or of lazyrich reproduce, a figure's .nc file, "
    "or a diagnosis (.json or .html)"
)
_MOST_STEP = 2**53  # the page's numbers are those of JavaScript
_EMBEDDED = re.compile(r"<summary>show</summary><pre>(.*?)</pre>", re.DOTALL)
_DIAGNOSIS = {"regime": str, "reason": str, "readings": dict, "advice": list, "notes": list}


def read_document(target: str | os.PathLike[str]) -> Document:
    """What a page shows of stored runs or of a diagnosis.

    Args:
        target: the folder or URL of a store; the folder that ``lazyrich train`` or
            ``lazyrich reproduce`` wrote; a figure's or an experiment's ``.nc`` file; or
            a diagnosis as JSON or as its page.

    Returns:
        The document.

    Raises:
        InputError: if it is none of these, cannot be read, or holds too much for a page.

    Example:
        >>> read_document("nowhere")
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: nowhere is not there; give the folder of ...
    """
    text = os.fspath(target)
    if "://" in text:
        return _of_store(text)
    path = Path(text)
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        raise InputError(f"{text} is not there; {_WANTED}.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{text} cannot be read ({reason_of(error)}); {_WANTED}.") from error
    if is_folder:
        if (path / "history.nc").is_file():
            return _of_file(path / "history.nc", text)
        is_reproduction = (path / "claims.json").is_file() and (path / "store").is_dir()
        return _of_store(str(path / "store") if is_reproduction else text)
    if path.suffix == ".nc":
        return _of_file(path, text)
    return _of_diagnosis(path)


def _of_store(where: str) -> Document:
    require_extra("sweeps", "A store in the page")
    from lazyrich.sweeps import find

    return document_of_outcomes(find(where), f"Runs of {where}", "store")


def _content(path: Path) -> bytes:
    try:
        return read_file(path, _MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason_of(error)}); {_WANTED}.") from error


def _of_file(path: Path, text: str) -> Document:
    """One experiment, or the panels of a figure."""
    require_extra("sweeps", "A dataset in the page")
    import h5py

    from lazyrich.sweeps.store._codec import DamagedFile, FutureFormat, decode

    content = _content(path)
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            key = bytes(file.attrs["key"]).decode()
    except Exception:  # HDF5 meets what it cannot read with any of a dozen errors
        key = None
    if key is not None:
        try:
            return document_of_outcomes([decode(content, key)], f"The run {text}", "run")
        except (DamagedFile, FutureFormat) as error:
            raise InputError(f"{path} cannot be used: {error}; {_WANTED}.") from error
    return _of_panels(content, path)


def _of_panels(content: bytes, path: Path) -> Document:
    require_extra("plots", "A figure's file in the page")
    from lazyrich.paper._files import read_panels

    panels = read_panels(content)
    if not panels:
        raise InputError(f"{path} is neither an experiment nor a figure's file; {_WANTED}.")
    name, panel = max(panels.items(), key=lambda pair: pair[1]["status"].size)
    return document_of_panel(panel, f"Runs of {path.name}, panel {name}")


def _of_diagnosis(path: Path) -> Document:
    content = _content(path)
    try:
        text = content.decode("utf-8-sig")  # editors may put a byte-order mark
        if text.startswith("<!DOCTYPE html>"):
            embedded = _EMBEDDED.search(text)
            text = html.unescape(embedded[1]) if embedded else ""
        found = read_json(text)
        json.dumps(found, ensure_ascii=False).encode()  # escaped half characters are no text
    except (UnicodeError, InputError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not a diagnosis; {_WANTED}.") from error
    if not _is_diagnosis(found):
        raise InputError(f"{path} is not a diagnosis; {_WANTED}.")
    return document_of_diagnosis(found, f"The diagnosis {path}")


def _is_diagnosis(found: object) -> TypeGuard[Mapping[str, Json]]:
    if not isinstance(found, dict) or not isinstance(found.get("records"), list):
        return False
    if any(not isinstance(found.get(name), kind) for name, kind in _DIAGNOSIS.items()):
        return False
    if not all(map(_is_record, found["records"])):
        return False
    advice = ("cause", "mechanism", "evidence", "knob", "predicted_effect")
    return (
        all(isinstance(one, dict) and "title" in one for one in found["readings"].values())
        and all(isinstance(one, dict) and set(advice) <= one.keys() for one in found["advice"])
        and all(isinstance(one, str) for one in found["notes"])
    )


def _is_record(one: object) -> bool:
    """Whether what a monitor recorded has no step, or a step that a run can have."""
    if not isinstance(one, dict) or "step" not in one:
        return True
    step = one["step"]
    is_whole = type(step) is int or (type(step) is float and step.is_integer())
    return is_whole and 0 <= step < _MOST_STEP
