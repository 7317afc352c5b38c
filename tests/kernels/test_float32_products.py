"""Oracle: every product that a public function asks JAX for, which must be in full float32.

GPUs round the operands of products to ten bits (TF32) unless a program asks for more. The
examples in the docstrings call every public function.
"""

import contextlib
import doctest
import inspect
import io
import sys
from pathlib import Path

import jax
import pytest

import lazyrich
from lazyrich import kernels, numerics, theory

PACKAGE = str(Path(lazyrich.__file__).parent)
PRODUCTS = (jax.lax.dot_general_p, jax.lax.conv_general_dilated_p)
FUNCTIONS = [
    found
    for module in (kernels, theory, numerics)
    for name, found in vars(module).items()
    if callable(found)
    and not name.startswith("_")
    and ">>>" in (found.__doc__ or "")
    and name != "linearize"  # whose products are the predictor's own
    and name != "measure_rates"  # whose example runs nothing
]


def _is_of_package():
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            return True
        frame = frame.f_back
    return False


@pytest.fixture
def rounded(monkeypatch):
    """Products of the package that were asked for with less than full precision."""
    found = []
    jax.clear_caches()  # what is traced already asks for nothing
    for product in PRODUCTS:
        bind = product.bind

        def noticed(*arguments, bind=bind, **options):
            wanted = options.get("precision") or ()
            is_full = all(one == jax.lax.Precision.HIGHEST for one in wanted) and wanted
            if not is_full and _is_of_package():
                found.append([str(a.aval if hasattr(a, "aval") else a)[:60] for a in arguments])
            return bind(*arguments, **options)

        monkeypatch.setattr(product, "bind", noticed)
    yield found
    jax.clear_caches()


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_no_product_is_rounded_on_a_gpu(function, rounded):
    module = inspect.getmodule(function)
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    with contextlib.redirect_stdout(io.StringIO()):
        for example in finder.find(function, function.__name__, globs=dict(vars(module))):
            runner.run(example, clear_globs=False)
    assert runner.tries
    assert not runner.failures
    assert rounded == []
