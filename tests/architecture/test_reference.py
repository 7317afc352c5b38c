"""Oracle: the subpackages' public names: each has its place in the reference, nothing else has."""

import ast
import re
from pathlib import Path

import pytest

import lazyrich

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "reference"
ROOMS = sorted(path.parent.name for path in (ROOT / "src" / "lazyrich").glob("*/__init__.py"))
WRITTEN_BY_ITSELF = {"cli"}  # the site's build makes the page from the commands


def public_names(path):
    """Names that a room hands out: ``from ._x import name as name``, and what it defines."""
    names = set()
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    # What is loaded when it is asked for stands under `if TYPE_CHECKING`.
    statements += [inner for node in statements if isinstance(node, ast.If) for inner in node.body]
    for node in statements:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.name == alias.asname}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in WRITTEN_BY_ITSELF])
def test_every_public_name_has_its_place_and_nothing_else(room):
    page = PAGES / f"{room.removeprefix('_')}.md"
    assert page.exists(), f"write {page.relative_to(ROOT)} and enter it in mkdocs.yml"
    text = page.read_text(encoding="utf-8")
    placed = re.findall(rf"^::: lazyrich\.{room}\.(\w+)$", text, re.MULTILINE)
    assert len(placed) == len(set(placed))
    public = public_names(ROOT / "src" / "lazyrich" / room / "__init__.py")
    missing = [f"::: lazyrich.{room}.{name}" for name in sorted(public - set(placed))]
    assert not missing, f"put into {page.relative_to(ROOT)}: {missing}"
    assert set(placed) - public == set()


def test_the_short_list_has_its_place():
    text = (PAGES / "index.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\[`lz\.(\w+)`\]", text))
    path = ROOT / "src" / "lazyrich" / "__init__.py"
    [promised] = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If)]
    names = set()
    for node in promised.body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names}
        elif isinstance(node, ast.AnnAssign):
            names.add(ast.unparse(node.target))
    assert named | {"__version__"} == names
    for name in named:
        assert getattr(lazyrich, name).__name__ == name or name == "Predictor"


def test_every_page_stands_in_the_navigation():
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    docs = ROOT / "docs"
    pages = {str(path.relative_to(docs)) for path in docs.rglob("*.md")}
    assert pages - listed == set()
    assert listed - pages == {"reference/cli.md"}
