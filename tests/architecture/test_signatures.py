"""Oracle: the rules on signatures, read from the source: annotated, six arguments, few `Any`."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "lazyrich"
MOST_ARGUMENTS = 6

# How often a package may use `Any`: where a library declares no type, or one that is too wide.
ANY = {
    "_base": 0,
    "cli": 4,
    "curves": 0,
    "diagnosis": 12,
    "explorer": 0,
    "kernels": 8,
    "models": 0,
    "numerics": 0,
    "paper": 0,
    "plots": 1,
    "race": 1,
    "sweeps": 1,
    "tasks": 0,
    "theory": 2,
    "torch": 11,
    "training": 1,
}
# Functions that users call with few of their arguments, all but the first two or three
# keyword-only, and commands, whose arguments are flags.
LONG = {
    "cli": {"diagnose", "race", "reproduce", "show", "sweep"},
    "diagnosis": {"__init__", "diagnose"},  # Monitor's
    "kernels": {"lazy_dynamics", "ntk"},
    "numerics": {"step"},  # diffrax's interface
    "paper": {"reproduce"},
    "plots": {"plot_map"},
    "race": {"race"},
    "theory": {"goldilocks_range", "gradient_descent", "gradient_flow"},
    "torch": {"__init__", "diagnose", "ntk", "sketch", "watch"},  # Watch's
    "training": {"train_many"},
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


@pytest.mark.parametrize("package", ANY)
def test_no_tuple_is_unpacked_where_it_is_written(package):
    """``f(*(a, b))`` hides arguments from readers and checkers; it only pleases the formatter."""
    n = sum(
        isinstance(node, ast.Starred) and isinstance(node.value, ast.Tuple)
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
    assert n == 0
