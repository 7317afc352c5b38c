"""Oracle: the promise of one sentence for input that cannot be used, and no verdict by accident."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lazyrich as lz
from lazyrich import InputError
from lazyrich.diagnosis import Regime


def predict(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


KEYS = jax.random.split(jax.random.key(0), 3)
START = {"w": jax.random.normal(KEYS[0], (5, 6)), "v": jax.random.normal(KEYS[1], (6,)) / 6}
LATER = jax.tree.map(lambda a: 1.3 * a, START)
X = jax.random.normal(KEYS[2], (8, 5))
Y = X[:, 0] ** 2


def diagnose(**changes):
    given = {"predict": predict, "params0": START, "params": LATER, "x": X, "y": Y} | changes
    order = [given.pop(name) for name in ("predict", "params0", "params", "x", "y")]
    return lz.diagnose(*order, **given)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"y": Y + 1j}, "y holds complex.* labels are real numbers"),
        ({"y": np.arange(8).astype("datetime64[s]")}, "y holds datetime64"),
        ({"x_test": X[:5, :3], "y_test": Y[:5]}, "cannot take x_test"),
        ({"y_test": Y[:5]}, "y_test was given without x_test"),
        ({"features": lambda p, x: "a"}, "features returned"),
        ({"features": lambda p, x: x * jnp.nan}, "features returned NaN"),
        ({"predict": 3}, "predict is an int"),
        ({"settings": {"m": 3}}, "settings is a dict"),
        ({"optimization": {"lr": 3}}, "optimization is a dict"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(changes, said, unchecked):
    with pytest.raises(InputError, match=said):
        diagnose(**changes)


def test_a_page_needs_a_name(unchecked):
    with pytest.raises(InputError, match="path is None"):
        diagnose().to_html(None)


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_a_network_that_has_blown_up_gets_no_verdict(scale):
    found = diagnose(params=jax.tree.map(lambda a: scale * a, LATER))
    assert found.regime is Regime.UNDECIDED
    assert "diverged" in found.reason


@pytest.mark.parametrize("step", [math.nan, math.inf, 5.5, -1, "a", True, None])
def test_a_monitor_takes_whole_steps(step, unchecked):
    monitor = lz.Monitor(predict, START, X, Y, share=1.0)
    with pytest.raises(InputError, match="whole number of steps"):
        monitor(step, LATER)


def test_a_monitor_tells_other_parameters_from_diverged_ones():
    monitor = lz.Monitor(predict, START, X, Y, share=1.0)
    with pytest.raises(InputError, match="structure"):
        monitor(1, {"w": jnp.ones(1)})
    record = monitor(1, jax.tree.map(lambda a: a * jnp.nan, LATER))
    assert math.isnan(record["kernel_cosine"])
    unchanged = monitor(np.int64(2), START)
    assert math.isnan(unchanged["is_lazy"])
