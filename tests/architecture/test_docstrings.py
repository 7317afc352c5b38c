"""Oracle: the form that every exported name's docstring must have, read from the source."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "lazyrich"
PACKAGES = sorted(path.parent.relative_to(ROOT) for path in ROOT.glob("*/**/__init__.py"))

# How many exported names of a package may still lack a part, and how many methods may have a
# docstring of one or two words; these numbers only go down.
INCOMPLETE: dict[str, int] = {}
TERSE: dict[str, int] = {}


def exported(package):
    """Names and definitions that a package re-exports from files of its own."""
    folder = ROOT / package
    statements = ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body
    statements += [inner for node in statements if isinstance(node, ast.If) for inner in node.body]
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
            yield node.name, node
        if not (isinstance(node, ast.ImportFrom) and node.level == 1):
            continue
        path = folder / f"{(node.module or '').replace('.', '/')}.py"
        if not path.exists():
            continue
        defined = {
            definition.name: definition
            for definition in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(definition, ast.FunctionDef | ast.ClassDef)
        }
        for alias in node.names:
            if alias.name == alias.asname and alias.name in defined:
                yield alias.name, defined[alias.name]


def missing_parts(node):
    """The parts of the Google form that a definition needs and its docstring has not."""
    docstring = ast.get_docstring(node) or ""
    sections = set(re.findall(r"^(Args|Attributes|Returns|Raises|Example):$", docstring, re.M))
    needed = set() if is_exception(node) else {"Example"}
    named = set()
    if isinstance(node, ast.FunctionDef):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        named = {argument.arg for argument in arguments}
        needed |= {"Args"} if named else set()
        is_none = isinstance(node.returns, ast.Constant) and node.returns.value is None
        needed |= set() if is_none else {"Returns"}
        if any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
            needed.add("Raises")
    elif not is_exception(node):
        fields = {
            field.target.id
            for field in node.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            # What a config sets for its class is not a setting.
            if "ClassVar" not in ast.unparse(field.annotation) and field.target.id != "kind"
        }
        named = {name for name in fields if name[0] != "_"}
        needed |= {"Attributes"} if named else set()
    described = set(re.findall(r"^ {4}\**(\w+): ", docstring, re.M))
    return sorted(needed - sections) + sorted(named - described)


def is_exception(node):
    bases = getattr(node, "bases", [])
    return any(ast.unparse(base).endswith(("Error", "Exception")) for base in bases)


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_every_exported_name_is_documented_in_full(package):
    lacking = {name: parts for name, node in exported(package) if (parts := missing_parts(node))}
    assert len(lacking) <= INCOMPLETE.get(str(package), 0), lacking


def test_the_check_sees_what_is_missing():
    text = '''def ratio(a, *, b) -> float:
    """The ratio.

    Args:
        a: above.

    Returns:
        a/b.
    """
    raise ValueError
'''
    assert missing_parts(ast.parse(text).body[0]) == ["Example", "Raises", "b"]


def test_a_method_is_silent_or_says_something():
    """An override that means what its base says needs no docstring; a single symbol is none."""
    terse = {}
    for path in sorted(ROOT.rglob("*.py")):
        package = path.relative_to(ROOT).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            docstring = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
            if docstring and len(docstring.split()) < 3:
                terse.setdefault(package, []).append((path.name, docstring))
    for package, methods in terse.items():
        assert len(methods) <= TERSE.get(package, 0), methods
