"""The functions that measure a PyTorch module, by name."""

import pytest

import lazyrich.torch as lzt


def refused(model, x):
    with pytest.raises(lzt.InputError):
        lzt.ntk(model, x, output=lambda out: out[:0])


def linearized(model, x):
    lzt.linearize(model)(*(x if isinstance(x, tuple) else (x,)))


def scaled(model, x):
    lzt.scale_output(model, 2.0)(*(x if isinstance(x, tuple) else (x,)))


FUNCTIONS = {
    "ntk": lzt.ntk,
    "traced ntk": lambda model, x: lzt.ntk(model, x, trace_outputs=True),
    "explain_ntk": lzt.explain_ntk,
    "sketch": lambda model, x: lzt.sketch(model, x, 3),
    "linearize": linearized,
    "scale_output": scaled,
    "a refused call": refused,
}
# Linearized and scaled networks are called by their owner, as the model is.
MEASURING = [name for name in FUNCTIONS if name not in ("linearize", "scale_output")]
