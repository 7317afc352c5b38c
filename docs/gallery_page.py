"""The gallery: every script in ``examples``, with what it printed and drew when it last ran.

``python docs/gallery_page.py [NAME ...]`` runs the scripts (all, or those named) one after another
and records what came out; the page is written from the records and the scripts.
"""

import ast
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGE = ROOT / "docs" / "gallery.md"
FOLDER = ROOT / "docs" / "gallery"  # pictures, and the records
RECORDS = FOLDER / "recorded.json"

SPELLED = {"jax": "JAX", "pytorch": "PyTorch", "resnet": "ResNet"}
# The extra that brings an import.
EXTRAS = {"lazyrich.sweeps": "sweeps", "lazyrich.torch": "torch", "matplotlib.pyplot": "plots"}
LONG = 12  # lines of output that are shown at once


def records() -> dict[str, Any]:
    """What was recorded of each script, by its name."""
    return json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}


def record(path: Path) -> dict[str, Any]:
    """Run a script in an empty folder, keep its picture, and return what is to be recorded."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command, environment = [sys.executable, str(path)], os.environ | {"MPLBACKEND": "agg"}
        run = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if run.returncode != 0:
            raise SystemExit(f"{path.name} failed:\n{run.stderr}")
        pictures = sorted(Path(folder).glob("*.png"))
        for picture in pictures:
            (FOLDER / f"{path.stem}.png").write_bytes(picture.read_bytes())
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "source": digest(path),
        "picture": digest(FOLDER / f"{path.stem}.png") if pictures else None,
        "seconds": round(seconds, 1),
        "processor_seconds": round(busy, 1),
        "printed": run.stdout.strip("\n"),
    }


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def page() -> str:
    """The whole page."""
    found = records()
    rows = [
        f"| [{title(path)}](#{path.stem}) | {'PyTorch' if 'torch' in extras(path) else 'JAX'} "
        f"| {found[path.stem]['processor_seconds']:.0f} s |"
        for path in EXAMPLES
    ]
    return "\n".join([_HEAD, *rows, _TABLE_END, *(section(path, found) for path in EXAMPLES)])


def section(path: Path, found: dict[str, Any]) -> str:
    """One script: what it shows, how to run it, its picture, what it prints, its text."""
    source, recorded = path.read_text(encoding="utf-8"), found[path.stem]
    said = ast.get_docstring(ast.parse(source))
    command = (
        f"pip install '.[{','.join(needed)}]'" if (needed := extras(path)) else "pip install ."
    )
    lines = [f"## {title(path)} {{ #{path.stem} }}", "", str(said), "", "```sh", command]
    lines += [f"python examples/{path.name}", "```", ""]
    if recorded["picture"]:
        lines += [f"![{title(path)}](gallery/{path.stem}.png)", ""]
    printed = ["```text", *recorded["printed"].splitlines(), "```"]
    lines += _folded("What it prints", printed) if len(printed) > LONG + 2 else [*printed, ""]
    return "\n".join([*lines, *_folded("The script", ["```python", *source.splitlines(), "```"])])


def title(path: Path) -> str:
    """Kernel and alignment for 01_kernel_and_alignment.py."""
    words = [SPELLED.get(word, word) for word in path.stem.split("_")[1:]]
    return " ".join([words[0][0].upper() + words[0][1:], *words[1:]])


def extras(path: Path) -> list[str]:
    """The extras that a script needs, read off its imports."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    return sorted({EXTRAS[name] for name in imported if name in EXTRAS})


def _folded(summary: str, lines: list[str]) -> list[str]:
    inside = [f"    {line}".rstrip() for line in lines]
    return [f'??? example "{summary}"', "", *inside, ""]


_HEAD = """\
# Gallery

Scripts of 20 to 50 lines to start from, in `examples/` of the repository. Each runs in less than
a minute on a laptop without a GPU and ends with assertions on its own result. This page is
written by running them: the text of each is its docstring, and pictures and outputs are what came
out.

| script | framework | processor time |
|---|---|---|"""
_TABLE_END = """
Processor time of two cores together, imports and compilation included, each script alone.
"""

if __name__ == "__main__":
    chosen = [path for path in EXAMPLES if not sys.argv[1:] or path.stem in sys.argv[1:]]
    known = records()
    for one in chosen:
        known[one.stem] = record(one)
        sys.stderr.write(f"{one.name}: {known[one.stem]['seconds']} s\n")
        kept = {path.stem: known[path.stem] for path in EXAMPLES if path.stem in known}
        text = json.dumps(kept, ensure_ascii=False, indent=1) + "\n"
        RECORDS.write_text(text, encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
