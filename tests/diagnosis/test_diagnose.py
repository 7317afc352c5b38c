"""Oracle: finite differences in NumPy for every number; networks that are lazy by construction."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import small_nets as nets

import lazyrich as lz
from lazyrich.diagnosis import Optimization, Settings

WIDTH = 12


def predictor(alpha=1.0, params0=None):
    def raw(params, x):
        d, width = params["first"]["w"].shape
        hidden = jnp.tanh(x @ params["first"]["w"] / d**0.5 + params["first"]["b"])
        return hidden @ params["last"]["w"] / width**0.5

    if params0 is None:
        return lambda params, x: alpha * raw(params, x)
    return lambda params, x: alpha * (raw(params, x) - raw(params0, x))


@pytest.fixture(scope="module")
def case():
    params0 = nets.initial(WIDTH, n_outputs=2)
    x, y = nets.rows()
    y = np.stack([y, x[:, 2]], 1)
    return params0, nets.trained(params0, x, y, rate=2.0), x, y


@pytest.mark.parametrize("kernel", ["exact", "sketch"])
def test_every_number_is_the_one_of_finite_differences(case, kernel):
    params0, params, x, y = case
    settings = Settings(n_directions=64, kernel=kernel)
    found = lz.diagnose(predictor(), params0, params, x, y, settings=settings).readings
    jac0, jac = nets.jacobian(params0, x), nets.jacobian(params, x)
    k0, k = nets.centered(jac0), nets.centered(jac)
    norm = np.linalg.norm
    moved = nets.flat(params) - nets.flat(params0)
    f0, f = nets.outputs(params0, x), nets.outputs(params, x)
    wanted = {
        "kernel_cosine": (k0 * k).sum() / norm(k0) / norm(k),
        "kernel_growth": np.trace(k) / np.trace(k0),
        "kernel_distance": norm(k - k0) / norm(k0),
        "effective_rank": np.trace(k) ** 2 / norm(k) ** 2,
        "linearization_gap": norm(f - f0 - jac0 @ moved) / norm(f - f0),
        "parameter_change": norm(moved) / norm(nets.flat(params0)),
        "train_error": ((f - y) ** 2).mean() / ((y - y.mean(0)) ** 2).mean(),
        "initial_size": np.sqrt((f0**2).mean() / (y**2).mean()),
    }
    is_estimate = kernel == "sketch"
    for name, value in wanted.items():
        reading = found[name]
        if is_estimate and (name.startswith("kernel") or name == "effective_rank"):
            assert reading.low <= value <= reading.high, name
        else:
            assert reading.value == pytest.approx(value, rel=1e-5), name
    residual = 2 * (f - y) / y.size
    descent = -np.einsum("nc,ncp->p", residual, jac)
    cosine = descent @ nets.flat(params) / norm(descent) / norm(nets.flat(params))
    assert found["gradient_cosine"].value == pytest.approx(cosine, rel=1e-4)


def test_groups_are_measured_apart(case):
    params0, params, x, y = case
    groups = lz.diagnose(predictor(), params0, params, x, y).groups
    assert set(groups) == {"first", "last"}
    start, now = params0["last"]["w"], params["last"]["w"]
    wanted = np.linalg.norm(now - start) / np.linalg.norm(start)
    assert groups["last"].parameter_change == pytest.approx(wanted, rel=1e-6)
    assert groups["first"].kernel_cosine.value <= 1


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_linearized_network_is_lazy_however_far_it_moves(seed):
    params0 = nets.initial(WIDTH, seed=seed)
    x, _ = nets.rows(seed=seed)
    linear = lz.linearize(predictor(), params0)
    far = jax.tree.map(lambda a: a + np.random.default_rng(seed).normal(size=a.shape), params0)
    sketch = Settings(8, "sketch")
    assert lz.diagnose(linear, params0, far, x, settings=sketch).regime == "lazy"
    single = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (params0, far))
    assert lz.diagnose(predictor(), *[single[0]] * 2, x, settings=sketch).regime == "undecided"
    linear32 = lz.linearize(predictor(), single[0])
    assert lz.diagnose(linear32, *single, x.astype(np.float32), settings=sketch).regime == "lazy"


def test_large_alpha_is_lazy_and_small_alpha_is_not():
    params0 = nets.initial(WIDTH)
    x, y = nets.rows()
    found = {}
    for alpha, rate in ((1e3, 1.0), (0.1, 0.02)):
        params = nets.trained(params0, x, y, alpha=alpha, n_steps=600, rate=rate)
        found[alpha] = lz.diagnose(predictor(alpha, params0), params0, params, x, y)
    assert found[1e3].regime == "lazy"
    assert found[1e3].readings["initial_size"].value == 0
    assert found[0.1].readings["linearization_gap"].value > 0.5
    assert found[0.1].regime != "lazy"


def test_the_lazy_limit_is_kernel_regression(case):
    params0, params, x, y = case
    x_test, y_test = nets.rows(n=9, seed=7)
    y_test = np.stack([y_test, x_test[:, 2]], 1)
    found = lz.diagnose(predictor(), params0, params, x, y, x_test=x_test, y_test=y_test)
    jac, jac_test = nets.jacobian(params0, x), nets.jacobian(params0, x_test)
    p = jac.shape[-1]
    k = jac.reshape(-1, p) @ jac.reshape(-1, p).T
    query = jac_test.reshape(-1, p) @ jac.reshape(-1, p).T
    rest = (y - nets.outputs(params0, x)).ravel()
    predicted = query @ (np.linalg.pinv(k, rcond=1e-9) @ rest)
    predicted = predicted.reshape(y_test.shape) + nets.outputs(params0, x_test)
    wanted = ((predicted - y_test) ** 2).mean() / ((y_test - y_test.mean(0)) ** 2).mean()
    # The oracle's Jacobian has rounding of 1e-9, which small eigenvalues enlarge.
    assert found.readings["lazy_limit"].value == pytest.approx(wanted, rel=1e-2)
    assert found.readings["test_error"].null == 1


def test_classes_have_a_logit_block():
    params0 = nets.initial(WIDTH, n_outputs=3)
    x, _ = nets.rows()
    classes = np.arange(len(x)) % 3
    large = jax.tree.map(lambda a: 40 * a, params0)
    found = lz.diagnose(predictor(), params0, large, x, classes).readings
    logits = nets.outputs(large, x)
    scale = np.sqrt(((logits - logits.mean(1, keepdims=True)) ** 2).mean())
    assert found["logit_scale"].value == pytest.approx(scale, rel=1e-6)
    wrong = (logits.argmax(1) != classes).mean()
    assert found["train_error"].value == pytest.approx(wrong)


def test_last_features_are_compared_with_the_start(case):
    params0, params, x, y = case

    def features(params, x):
        return jnp.tanh(x @ params["first"]["w"] / 3**0.5 + params["first"]["b"])

    same = lz.diagnose(
        predictor(), params0, params, x, y, features=lambda p, x: features(params0, x)
    )
    assert same.readings["feature_alignment"].value == pytest.approx(1, abs=1e-5)
    other = lz.diagnose(predictor(), params0, params, x, y, features=features)
    assert other.readings["feature_alignment"].value < 0.9999
    assert 0 <= other.readings["refit_error"].value < 1.5


def test_it_says_what_it_found_in_words_and_json(case):
    params0, params, x, y = case
    found = lz.diagnose(
        predictor(),
        params0,
        params,
        x,
        y,
        optimization=Optimization(learning_rate=0.1, weight_decay=0.0),
    )
    text = str(found)
    assert text.startswith(("This network is", "Undecided"))
    assert "linearization gap" in text
    assert "kernel cosine" in text
    tree = json.loads(found.to_json())
    assert tree["regime"] == found.regime
    assert tree["readings"]["kernel_cosine"]["value"] == found.readings["kernel_cosine"].value
    assert tree["readings"]["initial_size"]["low"] is None
    assert tree["setup"]["rows"] == len(x)
    assert all(math.isfinite(value) for value in tree["thresholds"].values())


def test_measuring_twice_gives_the_same(case):
    params0, params, x, y = case
    one, two = (lz.diagnose(predictor(), params0, params, x, y) for _ in range(2))
    assert one.to_json() == two.to_json()
