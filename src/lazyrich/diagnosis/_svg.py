"""Small pictures as SVG, without a plotting library: intervals, bars, curves."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _LEFT, _RIGHT, _ROW = 340, 10, 10, 34
_COLOURS = ("#2b59c3", "#c3422b", "#2f8f4e", "#8a5fbf")


def _frame(height: float, body: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(body)}</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def interval_picture(
    rows: Sequence[tuple[str, float, float, float]],
    bounds: Mapping[str, float],
    most: float,
    title: str,
) -> str:
    """Values with their intervals on an axis from 0, and vertical lines at thresholds.

    Args:
        rows: label, value, low, high.
        bounds: by name, where a line stands.
        most: the right end of the axis; what is beyond stands at the end.
        title: what it shows.
    """

    def place(value: float) -> float:
        inside = min(max(value, 0.0), most)
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * inside / most

    height = float(_ROW * len(rows) + 30)
    body = []
    for name, bound in bounds.items():
        x = place(bound)
        body.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="18" y2="{height - 28}" class="bound"/>'
            + _text(x, height - 4, f"{name} {bound:g}", "middle")
        )
    body.append(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height - 28}" y2="{height - 28}" '
        'class="axis"/>'
        + _text(float(_LEFT), height - 16, "0")
        + _text(float(_WIDTH - _RIGHT), height - 16, f"{most:g}", "end")
    )
    for k, (label, value, low, high) in enumerate(rows):
        y = _ROW * k + 24.0
        body.append(_text(float(_LEFT), y - 9, label))
        if math.isfinite(low) and math.isfinite(high):
            body.append(
                f'<line x1="{place(low):.1f}" x2="{place(high):.1f}" y1="{y}" y2="{y}" '
                'class="interval"/>'
            )
        if math.isfinite(value):
            body.append(f'<circle cx="{place(value):.1f}" cy="{y}" r="4" class="dot"/>')
    return _frame(height, body, title)


def curve_picture(steps: Sequence[float], curves: Mapping[str, Sequence[float]], title: str) -> str:
    """Curves against steps on a log axis (step 0 stands left of 1), from 0 to the largest."""
    finite = [v for values in curves.values() for v in values if math.isfinite(v)]
    most = max([*finite, 1.0])
    places = [math.log10(max(step, 0.5)) for step in steps]
    first, last = min(places), max(max(places), min(places) + 1e-9)
    height, bottom = 190.0, 150.0

    def point(k: int, value: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (places[k] - first) / (last - first)
        return f"{x:.1f},{bottom - (bottom - 14) * max(value, 0) / most:.1f}"

    body = [
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}" class="axis"/>',
        _text(float(_LEFT), bottom + 13, f"step {min(steps):g}"),
        _text(float(_WIDTH - _RIGHT), bottom + 13, f"{max(steps):g}", "end"),
        _text(float(_LEFT), 10.0, f"{most:.3g}"),
    ]
    for k, (name, values) in enumerate(curves.items()):
        points = [point(i, v) for i, v in enumerate(values) if math.isfinite(v)]
        colour = _COLOURS[k % len(_COLOURS)]
        body.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        body.append(
            f'<text x="{_LEFT + 165 * (k % 2)}" y="{bottom + 27 + 12 * (k // 2)}" '
            f'fill="{colour}" class="key">{escape(name)}</text>'
        )
    return _frame(height + 6, body, title)
