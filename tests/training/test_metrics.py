"""Oracle: NumPy's pseudo-inverse of Jacobians in float64; a standard error by its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich._base import InputError
from lazyrich.models import CommitteeNet, MLPNet
from lazyrich.tasks import EigenvectorTask, ModularTask, PolynomialTask, TeacherTask
from lazyrich.training import (
    Difficulty,
    Experiment,
    GradientDescent,
    KernelRegression,
    Scaling,
    TestLossError,
    train,
    train_many,
)

SMALL = Experiment(
    task=PolynomialTask(dim=4, n_train=12, n_test=30),
    net=CommitteeNet(width=9, epsilon=0.7, readouts="normal"),
    optimizer=GradientDescent(learning_rate=1.0),
    scaling=Scaling(alpha=1.5, center=False),
    n_steps=2,
    eval_steps=(0, 1, 2),
    metrics=(KernelRegression(), TestLossError()),
)


@pytest.mark.parametrize(
    ("center", "precision"),
    [
        (False, "float32"),
        pytest.param(True, "float32", marks=pytest.mark.slow),
        pytest.param(True, "float64", marks=pytest.mark.slow),
        pytest.param(False, "float64", marks=pytest.mark.slow),
    ],
)
def test_kernel_regression_is_the_smallest_norm_fit_of_what_the_start_leaves(center, precision):
    one = SMALL.changed({"scaling.center": center, "precision": precision})
    measured = train(one).records["kernel_regression_loss"]
    assert measured.values.shape == (3,)
    assert measured.unit == "label units²"
    with jax.enable_x64(True):
        params, data = _start(one)
        predict = one.net.predictor()
        x = jnp.concatenate([data.x, data.x_test])
        params = jax.tree.map(jnp.asarray, params)
        jacobian = jax.jacobian(predict)(params, x)
        rows = np.concatenate([np.reshape(leaf, (len(x), -1)) for leaf in jacobian], axis=1) * 1.5
        outputs = 0 if center else 1.5 * np.asarray(predict(params, x))
    wanted = np.concatenate([data.y, data.y_test]) - outputs
    train_rows, test_rows = rows[:12], rows[12:]
    # Smallest change of the parameters that fits, to first order: kernel regression.
    fit = test_rows @ np.linalg.pinv(train_rows) @ wanted[:12]
    loss = np.square(fit - wanted[12:]).mean()
    tolerance = 1e-9 if precision == "float64" else 2e-5
    np.testing.assert_allclose(measured.values, loss, rtol=tolerance)


@pytest.mark.parametrize("center", [False, True])
def test_difficulty_is_the_squared_length_of_the_smallest_fit(center):
    one = SMALL.changed({"scaling.center": center}).model_copy(update={"metrics": (Difficulty(),)})
    measured = train(one).records["difficulty"].values
    with jax.enable_x64(True):
        params, data = _start(one)
        predict = one.net.predictor()
        params = jax.tree.map(jnp.asarray, params)
        x = jnp.asarray(data.x)
        jacobian = jax.jacobian(predict)(params, x)
        rows = np.concatenate([np.reshape(leaf, (12, -1)) for leaf in jacobian], axis=1) * 1.5
        outputs = 0 if center else 1.5 * np.asarray(predict(params, x))
    fit = np.linalg.pinv(rows) @ (np.asarray(data.y) - outputs)
    np.testing.assert_allclose(measured, fit @ fit, rtol=1e-4)


def _start(one):
    """Initial parameters and data as the run rounds them, in float64."""
    key = jax.random.fold_in(jax.random.key(one.seed), 2)
    params = one.net.init(key, n_inputs=one.task.n_inputs, n_outputs=None)
    data = one.task.sample(one.seed)
    dtype = np.dtype(one.precision)
    return jax.tree.map(
        lambda leaf: np.asarray(np.asarray(leaf, dtype), np.float64), (params, data)
    )


@pytest.mark.slow
def test_a_kernel_of_several_outputs_is_regressed_as_one_matrix():
    """A net linear in its parameters with more of them than labels goes where its kernel says."""
    one = SMALL.model_copy(
        update={
            "task": TeacherTask(dim=3, widths=(4,), target_dim=2, n_train=3, n_test=20),
            "net": MLPNet(widths=(), use_bias=False),
            "optimizer": GradientDescent(learning_rate=0.5),
            "scaling": Scaling(),
            "n_steps": 4000,
            "eval_steps": (0, 4000),
            "precision": "float64",
        }
    )
    history = train(one)
    assert history.train_loss[-1] < 1e-20
    line = history.records["kernel_regression_loss"].values
    np.testing.assert_allclose(history.test_loss[-1], line[-1], rtol=1e-8)
    assert line[0] == line[-1]


def test_regression_of_runs_in_a_batch_is_that_of_each_alone():
    """Labels of three indices share one batch; the decomposition is outside of it."""
    base = SMALL.changed({"scaling.center": True}).model_copy(
        update={"task": EigenvectorTask(dim=4, n_train=12, n_test=30)}
    )
    runs = [base.changed({"index": j, "seed": s}) for j, s in ((1, 0), (4, 0), (4, 1))]
    for batched, alone in zip(train_many(runs, mode="vmap"), map(train, runs), strict=True):
        name = "kernel_regression_loss"
        np.testing.assert_array_equal(batched.records[name].values, alone.records[name].values)
        np.testing.assert_allclose(batched.test_loss, alone.test_loss, rtol=1e-5)


def test_the_error_of_the_test_loss_is_its_spread_over_the_root_of_the_number():
    one = SMALL.changed({"precision": "float64"})
    history = train(one, metrics={"outputs": lambda now: now.test_outputs})
    outputs = history.records["outputs"].values
    record = history.records["test_loss_error"]
    with jax.enable_x64(True):
        labels = _start(one)[1].y_test
    squares = (outputs - labels) ** 2
    np.testing.assert_allclose(history.test_loss, squares.mean(1), rtol=1e-12)
    np.testing.assert_allclose(record.values, squares.std(1) / np.sqrt(30), rtol=1e-12)
    assert record.unit == "label units²"


def test_an_error_of_classes_is_refused():
    with pytest.raises(InputError, match="test_loss_error needs real labels and those of modular"):
        Experiment(
            task=ModularTask(modulus=5),
            net=MLPNet(),
            optimizer=GradientDescent(learning_rate=1.0),
            n_steps=1,
            metrics=(TestLossError(),),
        )
