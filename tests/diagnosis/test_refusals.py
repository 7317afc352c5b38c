"""Oracle: the contract, bad input gets one sentence that names it, and never a verdict."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import small_nets as nets

import lazyrich as lz
from lazyrich import InputError
from lazyrich.diagnosis import Settings


def predict(params, x):
    return jnp.tanh(x @ params["first"]["w"] + params["first"]["b"]) @ params["last"]["w"]


PARAMS0 = nets.initial(5)
PARAMS = jax.tree.map(lambda a: a + 0.1, PARAMS0)
X, Y = nets.rows(n=8)


def with_nan(params):
    return {**params, "last": {"w": np.full_like(params["last"]["w"], np.nan)}}


CASES = {
    "a checkpoint of another width": (
        lambda: lz.diagnose(predict, PARAMS0, nets.initial(6), X, Y),
        "leaf of shape",
    ),
    "a checkpoint of another network": (
        lambda: lz.diagnose(predict, PARAMS0, {"first": PARAMS["first"]}, X, Y),
        "two checkpoints of one network",
    ),
    "a diverged checkpoint": (
        lambda: lz.diagnose(predict, PARAMS0, with_nan(PARAMS), X, Y),
        "params holds NaN.*diverged",
    ),
    "a diverged reference": (
        lambda: lz.diagnose(predict, with_nan(PARAMS0), PARAMS, X, Y),
        "params0 holds NaN",
    ),
    "outputs that overflow": (
        lambda: lz.diagnose(
            lambda p, x: jnp.exp(1e4 * jnp.abs(predict(p, x))), PARAMS0, PARAMS, X, Y
        ),
        "outputs at params0 are NaN or infinite",
    ),
    "rows that are mixed": (
        lambda: lz.diagnose(
            lambda p, x: predict(p, x - x.mean(0)),
            PARAMS0,
            PARAMS,
            X,
            Y,
            settings=Settings(4, "sketch"),
        ),
        "mixes the rows",
    ),
    "one row": (lambda: lz.diagnose(predict, PARAMS0, PARAMS, X[:1], Y[:1]), "x has 1 row;"),
    "one row, repeated": (
        lambda: lz.diagnose(predict, PARAMS0, PARAMS, np.repeat(X[:1], 8, 0), Y),
        "x has 8 rows, of which 1 differ;",
    ),
    "a checkpoint of complex numbers": (
        lambda: lz.diagnose(predict, PARAMS0, jax.tree.map(lambda a: a + 0j, PARAMS), X, Y),
        "complex.* where params0",
    ),
    "rows that the network cannot take": (
        lambda: lz.diagnose(predict, PARAMS0, PARAMS, X[:, :2], Y),
        "cannot take x",
    ),
    "features that are no function": (
        lambda: lz.diagnose(predict, PARAMS0, PARAMS, X, Y, features=3),
        "features is an int",
    ),
    "no row": (lambda: lz.diagnose(predict, PARAMS0, PARAMS, X[:0], Y[:0]), "one or more"),
    "rows with NaN": (lambda: lz.diagnose(predict, PARAMS0, PARAMS, X * np.nan, Y), "x holds NaN"),
    "labels for other rows": (lambda: lz.diagnose(predict, PARAMS0, PARAMS, X, Y[:5]), "5 rows"),
    "outputs of a wrong shape": (
        lambda: lz.diagnose(lambda p, x: predict(p, x)[None], PARAMS0, PARAMS, X, Y),
        "predict returned shape",
    ),
    "no parameters": (lambda: lz.diagnose(predict, {}, {}, X, Y), "no array"),
    "text for parameters": (lambda: lz.diagnose(predict, {"a": "b"}, {"a": "b"}, X, Y), "str"),
    "two directions": (lambda: Settings(n_directions=2), "n_directions"),
    "a seed with a fraction": (lambda: Settings(seed=1.5), "seed is 1.5"),
    "a seed below zero": (lambda: Settings(seed=-1), "seed is -1"),
    "a seed in words": (lambda: Settings(seed="first"), "seed is 'first'"),
    "a kernel of no kind": (lambda: Settings(kernel="best"), "kernel"),
    "a monitor asked before it was called": (
        lambda: lz.Monitor(predict, PARAMS0, X, Y).diagnosis(),
        "not been called",
    ),
    "a state of something else": (
        lambda: lz.Monitor(predict, PARAMS0, X, Y).load_state_dict({"a": 1}),
        "not a state of a monitor",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence(case, unchecked):
    act, message = CASES[case]
    with pytest.raises(InputError, match=message) as caught:
        act()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_without_labels_nothing_is_said_of_fit():
    found = lz.diagnose(predict, PARAMS0, PARAMS, X)
    assert found.advice == ()
    assert "train_error" not in found.readings
    assert any("No labels" in note for note in found.notes)


def test_one_hot_labels_without_a_loss_are_named():
    def two(params, x):
        return predict(params, x).reshape(-1, 1) * jnp.array([1.0, -1.0])

    y = np.eye(2)[np.arange(8) % 2]
    assert any("one-hot" in note for note in lz.diagnose(two, PARAMS0, PARAMS, X, y).notes)
    told = lz.diagnose(two, PARAMS0, PARAMS, X, y, loss="mse")
    assert not any("one-hot" in note for note in told.notes)


def test_identical_checkpoints_are_undecided():
    found = lz.diagnose(predict, PARAMS0, PARAMS0, X, Y)
    assert found.regime == "undecided"
    assert "identical" in found.reason


def test_one_checkpoint_is_described_alone_and_named_as_given():
    found = lz.diagnose(predict, None, PARAMS, X, Y)
    assert found.regime == "undecided"
    assert "one checkpoint only" in found.reason
    assert {"train_error", "label_fit_now", "gradient_cosine"} <= set(found.readings)
    assert not {"linearization_gap", "kernel_cosine", "parameter_change"} & set(found.readings)
    with pytest.raises(InputError, match=r"^params holds NaN"):
        lz.diagnose(predict, None, with_nan(PARAMS), X, Y)
