"""Oracle: the network unit by unit in NumPy; second moments in closed form."""

import numpy as np
import pytest
from oracles.tasks import teacher_output

from lazyrich._base import InputError
from lazyrich.tasks import TeacherTask

ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda h: np.maximum(h, 0),
    "square": lambda h: h**2,
    "linear": lambda h: h,
}


def task(**changes):
    small = {"dim": 6, "widths": (5, 4), "target_dim": 5, "n_train": 12, "n_test": 7}
    return TeacherTask(**(small | changes))


def second_moment(chosen):
    """E⟨y²⟩ over teachers: a layer takes the mean square q of its inputs to v(fan-in·q + b).

    v is the variance of a weight and of a bias, b is 1 with biases and 0 without, and a
    ReLU halves the mean square of a centred Gaussian.
    """
    square = 1.0
    for layer, fan_in in enumerate((chosen.dim, *chosen.widths)):
        if layer and chosen.activation == "relu":
            square /= 2
        variance = 1.0 if chosen.initial == "unit_normal" else 1 / (3 * fan_in)
        square = variance * (fan_in * square + chosen.use_bias)
    return square


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (5, 4)])
def test_labels_are_the_teachers_outputs(activation, hidden):
    data = task(activation=activation, widths=hidden).sample(0)
    for x, y in [(data.x, data.y), (data.x_test, data.y_test)]:
        expected = teacher_output(data.target, x, ACTIVATIONS[activation])
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)


def test_weights_and_biases_fill_their_interval():
    data = task(dim=50, widths=(60,), target_dim=40).sample(0)
    for fan_in, layer in zip((50, 60), data.target, strict=True):
        bound = fan_in**-0.5
        for values in map(np.ravel, layer):
            assert np.abs(values).max() <= bound
            # Uniform: mean 0 and standard deviation bound/√3 (its own error < 1/√n of it).
            error = bound / np.sqrt(3 * len(values))
            assert abs(values.mean()) < 5 * error
            assert values.std() == pytest.approx(bound / 3**0.5, rel=3 / len(values) ** 0.5)


@pytest.mark.parametrize("activation, hidden", [("tanh", ()), ("linear", (4,)), ("relu", (5, 4))])
def test_second_moment_over_teachers_is_the_closed_form(activation, hidden):
    chosen = task(activation=activation, widths=hidden)
    squares = np.array([np.square(chosen.sample(seed).y_test).mean() for seed in range(150)])
    error = squares.std() / len(squares) ** 0.5
    assert abs(squares.mean() - second_moment(chosen)) < 4 * error


@pytest.mark.parametrize("use_bias", [True, False])
def test_unit_normal_teachers_and_teachers_without_biases(use_bias):
    chosen = task(dim=40, widths=(50,), activation="relu", initial="unit_normal", use_bias=use_bias)
    draws = [chosen.sample(seed) for seed in range(150)]
    weights = np.concatenate([np.ravel(layer[0]) for layer in draws[0].target])
    assert weights.std() == pytest.approx(1, rel=5 / np.sqrt(2 * len(weights)))
    assert (np.abs(draws[0].target[0][1]).max() > 0) == use_bias
    squares = np.array([np.square(data.y_test).mean() for data in draws])
    error = squares.std() / len(squares) ** 0.5
    assert abs(squares.mean() - second_moment(chosen)) < 4 * error


def test_noise_is_on_training_labels_alone():
    clean, noisy = task(n_train=20_000).sample(0), task(n_train=20_000, noise=0.5).sample(0)
    np.testing.assert_array_equal(clean.x, noisy.x)
    np.testing.assert_array_equal(clean.y_test, noisy.y_test)
    noise = np.asarray(noisy.y - clean.y).ravel()
    assert abs(noise.mean()) < 5 * 0.5 / len(noise) ** 0.5
    # A Gaussian's sample variance has the relative error √(2/n).
    assert noise.var() == pytest.approx(0.25, rel=5 * (2 / len(noise)) ** 0.5)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(InputError, match=r"widths\.1 is 0.*; noise is -1"):
        task(widths=(5, 0), noise=-1)
