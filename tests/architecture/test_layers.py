"""Oracle: the design: import contracts, import cost, one look at every file."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

MEASURE = """
import sys, time
import jax, jax.numpy
begin = time.process_time()  # of the processor: a busy machine takes longer by the clock
import lazyrich
seconds = time.process_time() - begin
heavy = {"xarray", "matplotlib", "torch", "dask", "pandas", "h5py"} & set(sys.modules)
print(seconds, ",".join(sorted(heavy)))
"""


def test_imports_go_down():
    run = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 kept, 0 broken" in run.stdout


def test_importing_is_cheap_and_loads_nothing_heavy():
    run = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    seconds, heavy = (
        run.stdout.strip().split(" ", 1)
        if " " in run.stdout.strip()
        else (
            run.stdout.strip(),
            "",
        )
    )
    assert heavy == ""
    assert float(seconds) < 2.0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_files_are_short_and_public_functions_documented(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.parse(text).body:
        is_public = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
        if is_public and "overload" not in map(ast.unparse, node.decorator_list):
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_functions_are_short(path):
    """At most 50 lines of code in a body; docstrings, comments and blank lines are none."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            first = body[0].lineno if body else node.end_lineno + 1
            code = [line.strip() for line in lines[first - 1 : node.end_lineno]]
            n = sum(bool(line) and not line.startswith("#") for line in code)
            assert n <= 50, f"{node.name} has {n} lines"


def test_every_test_file_names_its_oracle():
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert docstring.lower().startswith("oracle"), path


def test_oracles_import_nothing_from_here():
    for path in sorted((ROOT / "tests" / "oracles").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "lazyrich" for name in names), path


def test_the_constraints_name_no_registry():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "jax==" in text


def test_the_page_on_architecture_has_the_layers_as_they_are():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = contracts["tool"]["importlinter"]["contracts"][0]["layers"]
    layers_of = [set(layer.split(" | ")) for layer in layers]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = {}
    for layer, package in re.findall(r"^\| (entry point|\d) \| `(\w+)` \|", page, re.MULTILINE):
        listed.setdefault(layer, set()).add(package)
    assert list(listed.values()) == layers_of
