"""Oracle: the rules on signatures, read from the source: annotated, six arguments, few `Any`."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "lazyrich"
MOST_ARGUMENTS = 6

# How often a package may use `Any`: where the type is another library's, or any JSON value.
ANY = {
    "_base": 9,
    "curves": 0,
    "models": 0,
    "numerics": 0,
    "plots": 1,
    "tasks": 0,
    "theory": 2,
}
LONG = {
    "numerics": {"step"},  # diffrax's interface
    "plots": {"plot_map"},
    "theory": {"goldilocks_range", "gradient_descent", "gradient_flow"},
}


def functions(package):
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def arguments(node):
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [argument for argument in named if argument.arg not in ("self", "cls")]


@pytest.mark.parametrize("package", ANY)
def test_any_is_rare(package):
    n = sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
    assert n <= ANY[package]


@pytest.mark.parametrize("package", ANY)
def test_functions_are_annotated(package):
    lacking = [
        node.name
        for node in functions(package)
        if node.returns is None
        or any(
            argument.annotation is None
            for argument in [*arguments(node), node.args.vararg, node.args.kwarg]
            if argument is not None
        )
    ]
    assert not lacking


@pytest.mark.parametrize("package", ANY)
def test_functions_take_at_most_six_arguments(package):
    long = [node.name for node in functions(package) if len(arguments(node)) > MOST_ARGUMENTS]
    assert set(long) <= LONG.get(package, set())
