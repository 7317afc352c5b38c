"""Oracle: closed forms and the same formulas in NumPy float64, and PyTorch's losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import torch_nets

from lazyrich._base import InputError
from lazyrich.training import (
    accuracy,
    cross_entropy,
    mean_squared_error,
    stablemax_cross_entropy,
    threshold_accuracy,
)

RNG = np.random.default_rng(0)
LOGITS, LABELS = 3 * RNG.normal(size=(9, 5)), RNG.integers(0, 5, 9)
ONE_HOT = np.eye(5)[LABELS]


def test_losses_and_gradients_are_those_of_pytorch(require_extra):
    torch = require_extra("torch")
    for name, ours in (
        ("mean_squared_error", mean_squared_error),
        ("cross_entropy", cross_entropy),
    ):
        logits = torch.tensor(LOGITS, requires_grad=True)
        theirs = torch_nets.loss_function(torch, name)(logits, torch.tensor(ONE_HOT))
        theirs.backward()
        value, gradient = jax.value_and_grad(ours)(jnp.asarray(LOGITS), jnp.asarray(ONE_HOT))
        np.testing.assert_allclose(value, theirs.item(), rtol=1e-13)
        np.testing.assert_allclose(gradient, logits.grad, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("margin", [0.0, 1.0, 20.0, 60.0, 80.0])
def test_a_tiny_loss_is_right_to_the_precision_of_float32(margin):
    # Two equal losers at distance Δ: log(1 + 2e^−Δ), with gradients ∓2e^−Δ/(1 + 2e^−Δ), …
    odds = 2 * np.exp(-margin)
    logits = jnp.asarray([[margin, 0.0, 0.0]], jnp.float32)
    one_hot = jnp.asarray([[1.0, 0.0, 0.0]], jnp.float32)
    loss, gradient = jax.value_and_grad(cross_entropy)(logits, one_hot)
    assert loss.dtype == gradient.dtype == jnp.float32
    # Ten units in the last place of float32; exp(−80) itself costs 80 of half a unit.
    np.testing.assert_allclose(float(loss), np.log1p(odds), rtol=1e-5)
    share = odds / (1 + odds)
    np.testing.assert_allclose(gradient[0], [-share, share / 2, share / 2], rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_huge_logits_leave_loss_and_gradient_finite(dtype, size):
    one_hot = jnp.eye(3, dtype=dtype)[jnp.array([0, 0, 1])]
    rows = [[size, -size, 0], [-size, size, size], [size, size, -size]]
    loss, gradient = jax.jit(jax.value_and_grad(cross_entropy))(jnp.asarray(rows, dtype), one_hot)
    # No loss; 2s + log 2 (the other classes tie); log 2 (the label ties with one).
    expected = (2 * size + np.log(2) + np.log(2)) / 3
    np.testing.assert_allclose(float(loss), expected, rtol=1e-6)
    wanted = np.array([[0, 0, 0], [-1, 0.5, 0.5], [0.5, -0.5, 0]]) / 3
    np.testing.assert_allclose(gradient, wanted, atol=1e-6)


def test_cross_entropy_does_not_depend_on_a_common_shift():
    logits, one_hot = jnp.asarray(LOGITS), jnp.asarray(ONE_HOT)
    np.testing.assert_allclose(
        cross_entropy(logits + 1e3, one_hot), cross_entropy(logits, one_hot), rtol=1e-11
    )


def test_cross_entropy_of_one_class_is_zero_and_of_equal_logits_log_c():
    loss, gradient = jax.value_and_grad(cross_entropy)(jnp.array([[3.0]]), jnp.ones((1, 1)))
    assert loss == 0
    assert gradient == 0
    assert float(cross_entropy(jnp.zeros((4, 7)), jnp.eye(7)[:4])) == pytest.approx(np.log(7))


def test_forward_derivatives_agree_with_reverse():
    logits, one_hot = jnp.asarray(LOGITS), jnp.asarray(ONE_HOT)
    direction = jnp.asarray(RNG.normal(size=LOGITS.shape))
    tangent = jax.jvp(lambda z: cross_entropy(z, one_hot), (logits,), (direction,))[1]
    gradient = jax.grad(cross_entropy)(logits, one_hot)
    np.testing.assert_allclose(tangent, (gradient * direction).sum(), rtol=1e-12)


def test_mean_squared_error_is_a_mean_over_rows_and_outputs():
    outputs, targets = RNG.normal(size=(2, 6, 3))
    expected = sum((outputs[i, j] - targets[i, j]) ** 2 for i in range(6) for j in range(3)) / 18
    value = mean_squared_error(jnp.asarray(outputs), jnp.asarray(targets))
    np.testing.assert_allclose(value, expected, rtol=1e-13)


def test_accuracy_counts_rows():
    wanted = np.mean([LOGITS[i].argmax() == LABELS[i] for i in range(9)])
    assert float(accuracy(jnp.asarray(LOGITS), jnp.asarray(ONE_HOT))) == wanted
    assert float(accuracy(jnp.asarray(ONE_HOT), jnp.asarray(ONE_HOT))) == 1
    assert float(accuracy(jnp.full((9, 5), jnp.nan), jnp.asarray(ONE_HOT))) == 0
    assert accuracy(jnp.ones((2, 2), jnp.float32), jnp.eye(2)).dtype == jnp.float32


@pytest.mark.parametrize("shape", [(50,), (50, 3)])
def test_threshold_accuracy_of_both_errors(shape):
    outputs, targets = RNG.normal(size=(2, *shape))
    thresholds = np.array([0.0, 0.01, 0.3, 1.0, 100.0])
    squared = ((outputs - targets) ** 2).reshape(50, -1).mean(1)
    for of, errors in (("squared", squared), ("absolute", np.sqrt(squared))):
        wanted = [np.mean(errors <= threshold) for threshold in thresholds]
        found = threshold_accuracy(
            jnp.asarray(outputs), jnp.asarray(targets), jnp.asarray(thresholds), of=of
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
    assert np.unique(wanted).size > 3  # the thresholds tell rows apart


def test_threshold_accuracy_at_and_beside_the_threshold():
    outputs = jnp.array([0.0, 0.5, 0.75, jnp.nan])
    found = threshold_accuracy(outputs, jnp.zeros(4), jnp.array([0.0, 0.25, 0.5]))
    assert found.tolist() == [0.25, 0.5, 0.5]
    found = threshold_accuracy(outputs, jnp.zeros(4), jnp.array([0.5, 0.75]), of="absolute")
    assert found.tolist() == [0.5, 0.75]


def test_an_unknown_error_gets_one_sentence(unchecked):
    with pytest.raises(InputError, match="of is 'relative'; choose"):
        threshold_accuracy(jnp.ones(2), jnp.ones(2), jnp.ones(1), of="relative")


SCORES = np.array([[2.0, 1.0, 0.0], [0.5, 3.0, 1.0]])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "function", [mean_squared_error, cross_entropy, stablemax_cross_entropy, accuracy]
)
@pytest.mark.parametrize(
    "targets",
    [
        np.array([0, 1]),
        np.eye(3)[0],
        np.eye(3)[:1],
        np.eye(3),
        np.eye(2),
        None,
        "a",
        [["a"] * 3] * 2,
    ],
)
def test_targets_of_other_rows_or_outputs_are_refused(function, targets):
    # NumPy's rules would pair each row with all others, or an output with all others.
    for outputs, others in ((SCORES, targets), (SCORES[:, :1], np.array([0.0, 1.0]))):
        with pytest.raises(InputError):
            function(outputs, others)
    with pytest.raises(InputError):
        function(SCORES[:0], np.eye(3)[:0])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", [cross_entropy, stablemax_cross_entropy, accuracy])
@pytest.mark.parametrize("labels", [np.full((2, 3), 1 / 3), np.ones((2, 3)), 2 * np.eye(3)[:2]])
def test_labels_that_are_not_one_hot_are_refused(function, labels):
    with pytest.raises(InputError, match="one-hot rows"):
        function(SCORES, labels)
