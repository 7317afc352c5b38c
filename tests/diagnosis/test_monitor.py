"""Oracle: the diagnosis of the same parameters; a loop trained without a monitor."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import small_nets as nets

import lazyrich as lz
from lazyrich.diagnosis import Settings

X, Y = nets.rows(n=12)
PARAMS0 = nets.initial(6)


def predict(params, x):
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    return (hidden @ params["last"]["w"])[:, 0]


@jax.jit
def gradient(params):
    return jax.grad(lambda p: jnp.square(predict(p, X) - Y).mean())(params)


def trained(monitor=None, n_steps=30, state=None):
    optimizer = optax.adam(0.02)
    params = jax.tree.map(jnp.asarray, PARAMS0)
    opt_state = optimizer.init(params)
    for step in range(1, n_steps + 1):
        updates, opt_state = optimizer.update(gradient(params), opt_state)
        params = optax.apply_updates(params, updates)
        if monitor is not None:
            monitor(step, params, opt_state)
    return params, opt_state


@pytest.fixture(scope="module")
def watched():
    monitor = lz.Monitor(predict, PARAMS0, X, Y, share=1.0, settings=Settings(16, "sketch"))
    return monitor, *trained(monitor)


def test_it_measures_at_one_two_five_and_changes_nothing(watched):
    monitor, params, _ = watched
    assert [one["step"] for one in monitor.records] == [1, 2, 5, 10, 20]
    alone, _ = trained()
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), params, alone)


def test_metrics_are_those_of_the_diagnosis(watched):
    monitor, params, _ = watched
    fresh = lz.Monitor(predict, PARAMS0, X, Y, share=1.0, settings=Settings(16, "sketch"))
    metrics = fresh(1, params)
    found = lz.diagnose(predict, PARAMS0, params, X, Y, settings=Settings(16, "sketch")).readings
    for name in ("linearization_gap", "kernel_cosine", "kernel_growth", "parameter_change"):
        assert metrics[name] == pytest.approx(found[name].value, rel=1e-6)
    assert metrics["probe_loss"] == pytest.approx(float(jnp.square(predict(params, X) - Y).mean()))
    assert len(monitor.diagnosis(params).records) == 5


def test_the_preconditioned_kernel_is_that_of_a_rescaled_network(watched):
    # J D⁻¹ Jᵀ is the kernel in the coordinates D^(1/2) θ.
    _, params, opt_state = watched
    scale = jax.tree.map(lambda nu: 1 / jnp.sqrt(jnp.sqrt(nu) + 1e-8), opt_state[0].nu)

    def rescaled(scaled, x):
        return predict(jax.tree.map(lambda a, s: a * s, scaled, scale), x)

    def into(params):
        return jax.tree.map(lambda a, s: a / s, params, scale)

    settings = Settings(16, "sketch")
    wanted = lz.diagnose(rescaled, into(PARAMS0), into(params), X, settings=settings)
    fresh = lz.Monitor(predict, PARAMS0, X, share=1.0, settings=settings)
    found = fresh(1, params, opt_state)["preconditioned_kernel_cosine"]
    assert found == pytest.approx(wanted.readings["kernel_cosine"].value, rel=1e-5)


def test_it_spends_no_more_than_its_share():
    monitor = lz.Monitor(predict, PARAMS0, X, Y, share=1e-6)
    assert monitor(1, PARAMS0) is None
    assert monitor.spent > 0


def test_a_saved_state_goes_on(watched):
    monitor, params, _ = watched
    state = json.loads(json.dumps(monitor.state_dict()))
    other = lz.Monitor(predict, PARAMS0, X, Y, share=1.0, settings=Settings(16, "sketch"))
    other.load_state_dict(state)
    assert other.records == monitor.records
    assert other(21, params) is None
    assert other(50, params)["step"] == 50


def test_a_diverged_network_does_not_end_the_run():
    said = []
    monitor = lz.Monitor(predict, PARAMS0, X, Y, share=1.0, say=said.append)
    broken = jax.tree.map(lambda a: a * np.nan, PARAMS0)
    assert math.isnan(monitor(1, broken)["kernel_cosine"])
    assert "lazyrich at step 1" in said[0]
