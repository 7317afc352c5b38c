"""Oracle: gradient descent on the weights themselves in NumPy; the engine on the same seed."""

import jax
import numpy as np
import pytest
from oracles import committee

from lazyrich._base import InputError, Status
from lazyrich.models import CommitteeNet
from lazyrich.sweeps import experiment_key
from lazyrich.tasks import PolynomialTask, scale_labels
from lazyrich.training import (
    Alignment,
    CommitteeExperiment,
    Experiment,
    GradientDescent,
    ParameterChange,
    Terms,
    train,
    train_committee,
)

SMALL = CommitteeExperiment(
    dim=6, width=12, n_train=20, epsilon=0.3, learning_rate=0.3, n_steps=200, n_test=60, n_evals=20
)
# The loops run in float32.
SINGLE = 3e-4


def numpy_run(experiment, *, momentum=0.0):
    """Weights at the end and losses before each step, from the same draws."""
    data = PolynomialTask(dim=6, n_train=20, n_test=60).sample(experiment.seed)
    data = scale_labels(data, experiment.label_scale)
    key = jax.random.fold_in(jax.random.key(experiment.seed), 2)
    weights = np.asarray(
        CommitteeNet(width=12)
        .init(key, n_inputs=6, n_outputs=None, weight_scale=experiment.weight_scale)
        .weights
    )
    scale = np.sqrt(experiment.label_scale / (experiment.alpha * experiment.epsilon))
    signs = np.where(np.arange(12) % 2, -1.0, 1.0)
    solution = scale * signs[:, None] * np.asarray(data.target[0])
    part = experiment.mixed or 0.0
    weights = (1 - part) * weights + (experiment.aligned + part) * solution
    final, _, losses = committee.gradient_descent(
        weights,
        np.asarray(data.x),
        np.asarray(data.y),
        alpha=experiment.alpha,
        epsilon=experiment.epsilon,
        learning_rate=experiment.learning_rate,
        n_steps=experiment.n_steps,
        centered=experiment.center,
        momentum=momentum,
    )
    return weights, final, losses


@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0.9, "learning_rate": 0.05},
        {"center": False, "aligned": 0.2, "label_scale": 2.0, "weight_scale": 0.7, "alpha": 1.5},
        {"center": False, "mixed": 0.3, "label_scale": 2.0, "precision": "float64"},
    ],
)
def test_runs_of_a_batch_are_the_training_of_their_weights(changes):
    experiments = [SMALL.changed(changes | {"seed": seed}) for seed in (3, 4)]
    for experiment, found in zip(experiments, train_committee(experiments), strict=True):
        start, final, losses = numpy_run(experiment, momentum=experiment.momentum)
        np.testing.assert_allclose(found.train_loss[:-1], losses[found.steps[:-1]], rtol=SINGLE)
        change = np.linalg.norm(final - start) / np.linalg.norm(start)
        assert found.records["parameter_change"].values[-1] == pytest.approx(change, rel=SINGLE)
        norm = found.records["weight_norm"].values[-1]
        assert norm == pytest.approx(np.linalg.norm(final), rel=SINGLE)


@pytest.mark.slow
def test_the_engine_agrees_on_every_record_that_both_have():
    exact = train_committee([SMALL.changed({"n_probe": 40})])[0]
    engine = train(
        Experiment(
            task=PolynomialTask(dim=6, n_train=20, n_test=60),
            net=CommitteeNet(width=12, epsilon=0.3),
            optimizer=GradientDescent(learning_rate=0.3 * 12),
            n_steps=200,
            n_evals=20,
            metrics=(Terms(), ParameterChange(), Alignment(n_points=40)),
            linearized=True,
            precision="float64",
        )
    )
    common = exact.records.keys() & engine.records.keys()
    assert len(common) == 12
    for name in common:
        assert exact.records[name].unit == engine.records[name].unit
        np.testing.assert_allclose(
            exact.records[name].values, engine.records[name].values, rtol=SINGLE, atol=3e-6
        )


@pytest.mark.slow
def test_the_linearized_goes_as_far_as_its_fit_is_difficult():
    """The linear model's weights by NumPy: θ ← θ − η∇ on the initial features."""
    one = SMALL.changed({"has_split": True, "n_steps": 3000, "dim": 3, "precision": "float64"})
    found = train_committee([one])[0]
    data = PolynomialTask(dim=3, n_train=20, n_test=60).sample(0)
    key = jax.random.fold_in(jax.random.key(0), 2)
    weights = np.asarray(CommitteeNet(width=12).init(key, n_inputs=3, n_outputs=None).weights)
    x, y = np.asarray(data.x), np.asarray(data.y)
    slope = 1 + one.epsilon * x @ weights.T
    features = (slope[:, :, None] * x[:, None, :]).reshape(20, -1) * one.alpha / 12
    moved, goals = np.zeros(36), dict[int, np.floating]()
    for step in range(3001):
        if step in found.steps:
            goals[step] = np.linalg.norm(moved) / np.linalg.norm(weights)
        rate = one.learning_rate * 12 / one.alpha**2
        moved = moved - rate * 2 / 20 * features.T @ (features @ moved - y)
    change = found.records["linearized_change"].values
    np.testing.assert_allclose(change, list(goals.values()), rtol=1e-5, atol=1e-7)
    fit = np.linalg.pinv(features) @ y
    np.testing.assert_allclose(found.records["difficulty"].values, fit @ fit, rtol=1e-5)


def test_the_printed_alignment_centres_columns_and_labels():
    one = SMALL.changed({"n_probe": 60, "has_printed_alignment": True, "n_steps": 1})
    found = train_committee([one])[0].records["printed_alignment"].values[0]
    data = PolynomialTask(dim=6, n_train=20, n_test=60).sample(0)
    key = jax.random.fold_in(jax.random.key(0), 2)
    weights = np.asarray(CommitteeNet(width=12).init(key, n_inputs=6, n_outputs=None).weights)
    x, y = np.asarray(data.x_test), np.asarray(data.y_test)
    y = y - y.mean()
    slope = 1 + one.epsilon * x @ weights.T
    kernel = (x @ x.T) * (slope @ slope.T)
    kernel = kernel - kernel.mean(0)
    expected = y @ kernel @ y / (np.linalg.norm(kernel) * (y @ y))
    assert found == pytest.approx(expected, rel=SINGLE)


@pytest.mark.slow
def test_flow_is_descent_in_small_steps_and_counts_the_same_steps():
    descent = train_committee([SMALL.changed({"learning_rate": 0.02, "n_steps": 3000})])[0]
    flow = train_committee(
        [
            SMALL.changed({"dynamics": "flow", "n_steps": n, "learning_rate": rate})
            for n, rate in ((3000, 0.02), (60, 1.0))
        ]
    )
    for name in ("train_loss", "test_loss", "linearized_test_loss", "parameter_change"):
        values = descent.records[name].values
        # First order in the step: 0.02 against a fastest mode of order one.
        np.testing.assert_allclose(flow[0].records[name].values, values, rtol=0.03, atol=0.003)
        ends = [run.records[name].values[-1] for run in flow]
        assert ends[0] == pytest.approx(ends[1], rel=3e-3)


@pytest.mark.slow
def test_what_stays_inside_the_tangent_space_shrinks_outside_as_the_run_gets_lazy():
    def outside(alpha):
        run = train_committee([SMALL.changed({"alpha": alpha, "has_split": True})])[0]
        split = [run.records[f"change_{part}"].values[-1] for part in ("inside", "outside")]
        whole = run.records["parameter_change"].values[-1]
        assert np.hypot(*split) == pytest.approx(whole, rel=SINGLE)
        return split[1] / split[0]

    # The part outside is of second order in a displacement of order 1/α.
    assert outside(300.0) / outside(30.0) == pytest.approx(0.1, rel=0.2)


def test_a_diverged_run_spoils_no_other():
    fast, slow = train_committee([SMALL.changed({"learning_rate": r}) for r in (1000.0, 0.3)])
    assert fast.status == Status.diverged
    assert np.isfinite(fast.train_loss[0])
    assert not np.isfinite(fast.train_loss[-1])
    assert slow.status == Status.ok
    np.testing.assert_allclose(slow.train_loss, train_committee([SMALL])[0].train_loss, rtol=SINGLE)


def test_finished_runs_are_told_in_their_places():
    told = {}
    experiments = [SMALL.changed({"n_steps": n, "seed": k}) for k, n in enumerate((5, 7, 5, 9))]
    found = train_committee(experiments, on_finished=told.__setitem__)
    assert [one.experiment for one in found] == experiments
    assert all(told[k] is one for k, one in enumerate(found))


def test_versions_are_part_of_the_key(monkeypatch):
    before = experiment_key(SMALL)
    monkeypatch.setattr("lazyrich.training._committee.COMMITTEE_VERSION", 99)
    assert experiment_key(SMALL) != before


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"n_probe": 61}, "n_probe is 61"),
        ({"n_probe": 1}, "n_probe is 1; .* choose 0"),
        ({"n_probe": 3}, "n_probe is 3; .* choose 0"),
        ({"dynamics": "flow", "momentum": 0.5}, "momentum needs steps"),
        ({"alpha": 0.0}, "alpha is 0.0, wanted greater than 0"),
        ({"momentum": 1.0}, "momentum is 1.0, wanted less than 1"),
        ({"mixed": 0.5, "aligned": 0.5}, "mixed and aligned both"),
    ],
)
def test_bad_input_gets_one_sentence(changes, message):
    with pytest.raises(InputError, match=message):
        SMALL.changed(changes)
