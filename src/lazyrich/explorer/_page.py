"""The page as one HTML file: modules, style, uPlot and data put together, nothing computed."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NotRequired, TypedDict

from lazyrich._base import Json

PAGE: Final = Path(__file__).parent / "page"
"""The folder of the page's own files."""

_ENGINE: Final = (
    "random",
    "linear",
    "wasm",
    "products",
    "rows",
    "committee",
    "linearized",
    "curves",
)
_WORKER: Final = (*_ENGINE, "worker")
_APP: Final = (
    "constants",
    "curves",
    "state",
    "charts",
    "source",
    "play",
    "learn",
    "map",
    "diagnosis",
    "trainer",
    "runs",
    "app",
)
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_SLOT = re.compile(r"\{\{(\w+)\}\}")


def page_text(
    document: Mapping[str, object] | None = None, *, server: Mapping[str, object] | None = None
) -> str:
    """The page, which needs no other file and no network.

    Args:
        document: stored runs or a diagnosis to show, from ``read_document`` with curves;
            None shows the example that comes with the package.
        server: what the page can ask of the server that it comes from; None if it is a
            file.

    Returns:
        The HTML. Equal arguments give an equal page.

    Example:
        >>> page_text().startswith("<!DOCTYPE html>")
        True
    """
    app, uplot = _joined(_APP), _read("vendor/uPlot.iife.min.js")
    parts = {
        "style": _read("vendor/uPlot.min.css") + _read("page.css"),
        "sliders": _json(SLIDERS),
        "figures": _json(FIGURES),
        "document": _json(example() if document is None and server is None else document),
        "server": _json(server),
        "worker": _joined(_WORKER),
        "uplot": uplot,
        "app": app,
    }
    parts["policy"] = policy((uplot, app), is_served=server is not None)
    return _SLOT.sub(lambda slot: parts[slot[1]], _read("page.html"))


def policy(scripts: tuple[str, ...], *, is_served: bool) -> str:
    """The content security policy: these scripts and no others, and no other host.

    The worker's script may make WebAssembly, whose bytes it puts together itself.

    Args:
        scripts: the text of each script of the page.
        is_served: whether the page may ask its own server.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes} 'wasm-unsafe-eval' blob:; worker-src blob:; "
        "style-src 'unsafe-inline'; img-src data: blob:; "
        f"connect-src {'&#39;self&#39;' if is_served else '&#39;none&#39;'}; "
        "base-uri 'none'; form-action 'none'"
    ).replace("&#39;", "'")


def figure_links() -> dict[str, str]:
    """For each figure that the page can train, the end of the address that opens it there.

    Returns:
        By figure such as "fig4", the part of the address from # on.

    Example:
        >>> figure_links()["fig4"].startswith("#view=play&epsilon=0.25&")
        True
    """
    return {one["figure"]: _address(one["settings"]) for one in reversed(FIGURES)}


def _address(settings: Mapping[str, Json]) -> str:
    """As ``writeState`` of the page writes it."""
    words = ["view=play"]
    words += [
        f"{name}={settings[name]:.12g}"
        for name, slider in SLIDERS.items()
        if settings.get(name, slider["start"]) != slider["start"]
    ]
    words += ["center=0"] if settings.get("center") is False else []
    keys = settings.get("keys")
    words += ["keys=" + "-".join(map(str, keys))] if isinstance(keys, list) and keys else []
    return "#" + "&".join(words)


@cache
def example() -> dict[str, Json]:
    """The runs that the page shows where there are no others: the map of Figure 3."""
    return json.loads(_read("example.json"))


@cache
def _joined(names: tuple[str, ...]) -> str:
    """Modules as one script: in their order, without imports and exports."""
    text = "".join(_EXPORT.sub("", _IMPORT.sub("", _read(f"{name}.js"))) for name in names)
    return f'"use strict";\n{text}'


@cache
def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _json(content: object) -> str:
    """JSON that can stand inside a script element."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return (
        text.replace("<", "\\u003c").replace(chr(0x2028), "\\u2028").replace(chr(0x2029), "\\u2029")
    )


class Slider(TypedDict):
    """A slider of the page: its range, its start and what it is."""

    symbol: str
    title: str
    low: float
    high: float
    start: float
    scale: str
    help: str
    ratios: NotRequired[list[float]]


class PlayFigure(TypedDict):
    """A figure of the paper that the page can train."""

    figure: str
    title: str
    is_printed: bool
    text: str
    settings: dict[str, Json]


SLIDERS: Final[dict[str, Slider]] = json.loads(_read("settings.json"))
"""For each slider of the page its range, its start and what it is."""

FIGURES: Final[list[PlayFigure]] = json.loads(_read("figures.json"))
"""The settings of the paper's figures that the page can train."""
