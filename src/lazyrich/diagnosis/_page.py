"""A diagnosis as one HTML file that needs no network."""

import json
import math
import os
from html import escape
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING

from lazyrich._base import FileKind, InputError, kind_of, write_file

from ._readings import Reading
from ._svg import curve_picture, interval_picture
from ._text import headline, interval, level, number
from ._thresholds import threshold

if TYPE_CHECKING:
    from ._diagnosis import Diagnosis

_MARK = '<meta name="generator" content="lazyrich diagnose">'
_MOST_GROUPS = 60

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:46rem;
color:#1c1c22;background:#fff;overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
td,th{text-align:left;vertical-align:top;padding:.3rem .4rem;border-bottom:1px solid #ddd}
svg{width:100%;max-width:34rem;height:auto;display:block;font:10px system-ui,sans-serif}
svg text{fill:#333}svg .axis{stroke:#999}svg .bound{stroke:#c3422b;stroke-dasharray:3 3}
svg .interval{stroke:#2b59c3;stroke-width:4;stroke-linecap:round;opacity:.45}
svg .dot{fill:#2b59c3}dt{font-weight:600}dd{margin:0 0 .4rem}small{color:#666}
details pre{white-space:pre-wrap;font-size:.75rem}
@media(prefers-color-scheme:dark){body{color:#e6e6ea;background:#16161a}
td,th{border-color:#3a3a42}svg text{fill:#ccc}small{color:#aaa}}
"""


def _is_page(file: BufferedIOBase) -> bool:
    start = file.read(1024)
    return start[:15] == b"<!DOCTYPE html>" and _MARK.encode() in start


PAGE = FileKind("a diagnosis", _is_page)
"""What `Diagnosis.to_html` writes, and may replace."""


def write_page(diagnosis: "Diagnosis", path: str | Path) -> Path:
    """Write the page.

    Raises:
        InputError: if something that is no such page is there, or it cannot be written.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path is {kind_of(path)}; give the name of a file.")
    path = Path(path)
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder; name a file, such as {path / 'diagnosis.html'}.")
    content = page_text(diagnosis).encode("utf-8", "backslashreplace")
    write_file(path, content, kind=PAGE, cure="choose another place")
    return path


def page_text(diagnosis: "Diagnosis") -> str:
    """The page as text."""
    parts = [
        f"<h1>{escape(headline(diagnosis))}</h1><p>{escape(diagnosis.reason)}</p>",
        _decision(diagnosis),
        _advice(diagnosis),
        _readings(diagnosis),
        _groups(diagnosis),
        _records(diagnosis),
        _notes(diagnosis),
        "<h2>All of it as JSON</h2><details><summary>show</summary><pre>"
        + escape(json.dumps(diagnosis.to_dict(), ensure_ascii=False))
        + "</pre></details>",
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{_MARK}'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(headline(diagnosis))}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _decision(diagnosis: "Diagnosis") -> str:
    pictures = []
    gap = diagnosis.readings.get("linearization_gap")
    if gap is not None:
        pictures.append(
            interval_picture(
                [_row(gap)],
                {"lazy below": threshold("lazy_gap"), "rich above": threshold("rich_gap")},
                max(1.0, min(2.0, gap.value if math.isfinite(gap.value) else 1.0)),
                "linearization gap with its thresholds",
            )
        )
    cosine = diagnosis.readings.get("kernel_cosine")
    if cosine is not None:
        angle = Reading(
            "kernel turned by sin = √(1 − cosine²)",
            value=_sine(cosine.value),
            low=_sine(cosine.high),
            high=_sine(cosine.low),
        )
        pictures.append(
            interval_picture(
                [_row(angle)],
                {
                    "lazy below": round(_sine(threshold("lazy_cosine")), 2),
                    "rich above": round(_sine(threshold("rich_cosine")), 2),
                },
                1.0,
                "turn of the kernel with its thresholds",
            )
        )
    return f"<h2>What decided it</h2>{''.join(pictures)}" if pictures else ""


def _sine(cosine: float) -> float:
    return math.sqrt(max(0.0, 1 - cosine**2)) if math.isfinite(cosine) else math.nan


def _row(reading: Reading) -> tuple[str, float, float, float]:
    label = f"{reading.title}: {number(reading.value)} {interval(reading)}"
    return label, reading.value, reading.low, reading.high


def _advice(diagnosis: "Diagnosis") -> str:
    cards = []
    for k, one in enumerate(diagnosis.advice):
        rows = {
            "Mechanism": one.mechanism,
            "Evidence": one.evidence,
            "Change": one.knob,
            "Predicted effect": one.predicted_effect,
            "Source": one.source,
            "Effect at equal tuning budget": one.measured_effect,
        }
        entries = "".join(f"<dt>{k}</dt><dd>{escape(v)}</dd>" for k, v in rows.items())
        cards.append(f"<h3>{k + 1}. {escape(one.cause)}</h3><dl>{entries}</dl>")
    return f"<h2>Causes, in the order in which to act</h2>{''.join(cards)}" if cards else ""


def _readings(diagnosis: "Diagnosis") -> str:
    rows = "".join(
        f"<tr><td>{escape(one.title)}<br><small>{escape(one.note)}</small></td>"
        f"<td>{number(one.value)} {interval(one)}</td><td>{escape(level(one))}</td></tr>"
        for one in diagnosis.readings.values()
    )
    head = "<tr><th>measured</th><th>value (95 % interval)</th><th>null level</th></tr>"
    return f"<h2>Measurements</h2><table>{head}{rows}</table>"


def _groups(diagnosis: "Diagnosis") -> str:
    if not diagnosis.groups:
        return ""
    shown = list(diagnosis.groups.items())[:_MOST_GROUPS]
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{number(one.parameter_change)}</td>"
        f"<td>{number(one.kernel_cosine.value)}</td></tr>"
        for name, one in shown
    )
    more = len(diagnosis.groups) - len(shown)
    rest = f"<p>{more} more groups are in the JSON below.</p>" if more else ""
    head = "<tr><th>parameters</th><th>‖θ − θ₀‖/‖θ₀‖</th><th>kernel cosine</th></tr>"
    return f"<h2>By group of parameters</h2><table>{head}{rows}</table>{rest}"


def _records(diagnosis: "Diagnosis") -> str:
    if len(diagnosis.records) < 2:
        return ""
    steps = [one["step"] for one in diagnosis.records]
    names = {"linearization_gap": "linearization gap", "kernel_cosine": "kernel cosine"}
    curves = {
        title: [one.get(name, math.nan) for one in diagnosis.records]
        for name, title in names.items()
    }
    return f"<h2>Over training</h2>{curve_picture(steps, curves, 'measurements by step')}"


def _notes(diagnosis: "Diagnosis") -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in diagnosis.notes)
    setup = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(str(value))}</td></tr>"
        for name, value in diagnosis.setup.items()
    )
    return (f"<h2>Notes</h2><ul>{notes}</ul>" if notes else "") + (
        f"<h2>Setup</h2><table>{setup}</table>"
    )
