"""Oracle: plain optax loops, exact equivalences of the scales, closed forms of a linear net."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lazyrich import Status
from lazyrich.models import CommitteeNet, MLPNet, committee_machine
from lazyrich.tasks import ModularTask, PolynomialTask
from lazyrich.training import (
    AdamW,
    Experiment,
    GradientDescent,
    Scaling,
    Stop,
    Terms,
    ThresholdAccuracy,
    preset,
    train,
    train_many,
)

POLYNOMIAL = PolynomialTask(dim=6, n_train=40, n_test=80)
COMMITTEE = CommitteeNet(width=15, epsilon=0.4)
BASE = Experiment(
    task=POLYNOMIAL,
    net=COMMITTEE,
    optimizer=GradientDescent(learning_rate=3.0),
    n_steps=200,
    n_evals=12,
    precision="float64",
)
# Sums in another order, over 200 steps in double precision.
ROUNDING = 1e-10


@pytest.fixture(scope="module")
def plain():
    return train(BASE)


@pytest.mark.parametrize(
    ("optimizer", "reference"),
    [
        (GradientDescent(learning_rate=12.0, momentum=0.9), optax.sgd(3.0, momentum=0.9)),
        (
            AdamW(learning_rate=0.02, weight_decay=0.1, warmup_steps=10, b2=0.98),
            optax.adamw(
                lambda k: 0.01 * jnp.minimum(k.astype(float) / 10, 1.0), b2=0.98, weight_decay=0.1
            ),
        ),
        (
            AdamW(learning_rate=0.02, weight_decay=0.1, matched_decay=True),
            optax.adamw(0.01, weight_decay=0.2),
        ),
        (
            AdamW(learning_rate=0.02, weight_decay=0.1, learning_rate_rule="fixed"),
            optax.adamw(0.02, weight_decay=0.1),
        ),
    ],
)
def test_every_optimizer_is_its_own_loop_written_out(optimizer, reference):
    alpha, n_steps = 2.0, 60
    one = BASE.changed({"scaling.alpha": alpha, "n_steps": n_steps}).model_copy(
        update={"optimizer": optimizer, "eval_steps": (0, 7, n_steps)}
    )
    seen = {}
    history = train(one, metrics={"weights": lambda now: now.params.weights})
    start = history.records["weights"].values[0]
    data = POLYNOMIAL.sample(one.seed)
    net = committee_machine(COMMITTEE.epsilon)

    def loss(weights, x, y):
        moved = net((weights, None), x) - net((start, None), x)
        return jnp.square(alpha * moved - y).mean()

    net = _on_weights(net)
    weights, memory = jnp.asarray(start), reference.init(jnp.asarray(start))
    for step in range(n_steps + 1):
        if step in (0, 7, n_steps):
            seen[step] = loss(weights, data.x, data.y), loss(weights, data.x_test, data.y_test)
        updates, memory = reference.update(jax.grad(loss)(weights, data.x, data.y), memory, weights)
        weights = optax.apply_updates(weights, updates)
    wanted = np.array([seen[step] for step in (0, 7, n_steps)])
    np.testing.assert_allclose(history.train_loss, wanted[:, 0], rtol=ROUNDING)
    np.testing.assert_allclose(history.test_loss, wanted[:, 1], rtol=ROUNDING)


def _on_weights(net):
    from lazyrich.models import CommitteeParams

    return lambda pair, x: net(CommitteeParams(*pair), x)


def test_output_scale_is_label_scale(plain):
    """α[f − f₀] at η/α² is f − f₀ fitted to y/α at η, with the loss times α²."""
    alpha = 3.0
    scaled = train(BASE.changed({"scaling.alpha": alpha}))
    relabelled = train(BASE.changed({"scaling.label_scale": 1 / alpha}))
    for part in ("train_loss", "test_loss"):
        np.testing.assert_allclose(
            getattr(scaled, part), alpha**2 * getattr(relabelled, part), rtol=ROUNDING
        )
    assert abs(scaled.train_loss[-1] / plain.train_loss[-1] - 1) > 0.1


def test_weight_scale_is_output_and_task_scale():
    """Weights times σ with (α, ε, η) are unit weights with (ασ, εσ, η/σ²)."""
    sigma, epsilon, rate = 1.7, 0.4, 2.0
    wide = BASE.changed({"scaling.weight_scale": sigma, "optimizer.learning_rate": rate})
    unit = BASE.changed(
        {
            "scaling.alpha": sigma,
            "net.epsilon": epsilon * sigma,
            "optimizer.learning_rate": rate / sigma**2,
            "optimizer.learning_rate_rule": "fixed",
        }
    )
    one, other = train(wide), train(unit)
    np.testing.assert_allclose(one.train_loss, other.train_loss, rtol=ROUNDING)
    np.testing.assert_allclose(one.test_loss, other.test_loss, rtol=ROUNDING)


def test_gap_to_the_linearized_falls_with_alpha():
    """Curvature is of order 1/α at a fixed motion of the outputs: the gap's slope is −1."""
    alphas = np.array([16.0, 64.0, 256.0, 1024.0])
    base = BASE.changed({"metrics": [], "linearized": True})
    runs = train_many([base.changed({"scaling.alpha": alpha}) for alpha in alphas], mode="loop")
    early = 4  # a later evaluation step needs larger α to be lazy still
    gaps = [
        run.test_loss[early] - run.records["linearized_test_loss"].values[early] for run in runs
    ]
    slope = np.polyfit(np.log(alphas), np.log(np.abs(gaps)), 1)[0]
    assert slope == pytest.approx(-1, abs=0.02)
    linearized_runs = [run.records["linearized_train_loss"].values for run in runs]
    np.testing.assert_allclose(
        linearized_runs[0], linearized_runs[-1], rtol=1e-9
    )  # the linearized network knows no α


def test_the_linearized_of_a_linear_net_is_the_net():
    linear = BASE.changed({"net.epsilon": 0.0, "metrics": [], "linearized": True})
    history = train(linear)
    np.testing.assert_allclose(
        history.records["linearized_train_loss"].values, history.train_loss, rtol=ROUNDING
    )


@pytest.mark.parametrize("center", [True, False])
def test_terms_of_the_loss_sum_to_it_over_many_points(center):
    """Eq. 6 against 40 000 test points: the mean of a squared quartic has 2 % noise."""
    one = BASE.changed({"task.n_test": 40_000, "scaling.center": center}).model_copy(
        update={"metrics": (Terms(),), "scaling": Scaling(center=center, label_scale=1.5)}
    )
    history = train(one)
    total = sum(history.records[name].values for name in Terms.names)
    np.testing.assert_allclose(total, history.test_loss, rtol=0.06)
    assert history.records["linear_term"].unit == "label units²"


def test_a_pass_of_batches_is_the_full_gradient_as_the_rate_goes_to_zero():
    """Each point once in a pass: to first order in η, n/b small steps are n/b full ones."""
    gaps = []
    for rate in (1e-2, 1e-3):
        batches = BASE.changed(
            {"optimizer.learning_rate": rate, "optimizer.batch_size": 8, "n_steps": 10}
        ).model_copy(update={"eval_steps": (5, 10), "metrics": ()})
        full = batches.changed({"optimizer.batch_size": None})
        metrics = {"weights": lambda now: now.params.weights - now.params0.weights}
        moved = [
            train(one, metrics=metrics).records["weights"].values[1:] for one in (batches, full)
        ]
        gaps.append([np.abs(a - b).max() / np.abs(b).max() for a, b in zip(*moved, strict=True)])
    np.testing.assert_allclose(np.divide(*gaps), 10, rtol=0.2)


def test_batches_come_in_a_new_order_each_pass_and_for_each_seed():
    one = BASE.changed({"optimizer.batch_size": 8, "n_steps": 10}).model_copy(
        update={"eval_steps": (1, 2), "metrics": ()}
    )
    fixed = one.changed({"task.data_seed": 5, "task.split_seed": 5})
    # Weights differ between seeds too; the first batch alone decides the first step of a
    # linear net with zero outputs, so compare its direction through the loss.
    first, second = train(fixed).train_loss, train(fixed.changed({"seed": 1})).train_loss
    assert not np.allclose(first, second)
    assert np.array_equal(train(fixed).train_loss, first)


def test_single_and_double_precision_start_from_the_same_numbers():
    double = train(BASE)
    single = train(BASE.changed({"precision": "float32"}))
    assert single.params.weights.dtype == np.float32
    assert double.params.weights.dtype == np.float64
    np.testing.assert_allclose(single.train_loss, double.train_loss, rtol=2e-4)


def test_records_of_classes_and_thresholds():
    one = Experiment(
        task=ModularTask(modulus=5, fraction=0.8),
        net=MLPNet(widths=(64,), activation="relu"),
        optimizer=AdamW(learning_rate=0.01, weight_decay=0.0),
        loss="cross_entropy",
        n_steps=300,
        scaling=Scaling(center=False),
        metrics=(ThresholdAccuracy(thresholds=(1e-9, 1e9)),),
    )
    history = train(one)
    assert history.records["train_accuracy"].values[-1] == 1
    outputs = history.records["train_threshold_accuracy"]
    assert outputs.axes == ("threshold",)
    assert outputs.coordinates == ((1e-9, 1e9),)
    assert (outputs.values[:, 1] == 1).all()
    assert history.train_loss[0] == pytest.approx(np.log(5), rel=0.2)  # chance, in nats


def test_a_run_stops_when_solved_and_says_when_it_was_not():
    stop = Stop(solved_loss=0.5)
    solved = train(BASE.model_copy(update={"stop": stop}))
    assert solved.status == Status.ok
    assert solved.test_loss[-1] <= 0.5 * solved.train_loss[0]
    assert (solved.test_loss[:-1] > 0.5 * solved.train_loss[0]).all()
    never = train(BASE.model_copy(update={"stop": Stop(solved_loss=1e-9)}))
    assert never.status == Status.out_of_steps
    assert never.steps[-1] == BASE.n_steps


def test_a_diverging_run_leaves_the_others_alone():
    rates = [3.0, 1e4, 1.0]
    runs = [BASE.changed({"optimizer.learning_rate": rate}) for rate in rates]
    for mode in ("threads", "vmap"):
        histories = train_many(runs, mode=mode)
        assert [one.status.name for one in histories] == ["ok", "diverged", "ok"]
        alone = train(runs[2])
        np.testing.assert_allclose(histories[2].train_loss, alone.train_loss, rtol=ROUNDING)
        assert len(histories[1].steps) < len(alone.steps)
        assert not np.isfinite(histories[1].train_loss[-1])


@pytest.mark.parametrize("name", ["polynomial", "modular"])
def test_a_centred_net_is_exactly_zero_at_the_start(name):
    """Both have a product after the last sum, which a compiler would fuse."""
    changes = {"scaling.center": True, "n_steps": 1, "metrics": []}
    metrics = {"largest": lambda now: jnp.abs(now.outputs).max()}
    history = train(preset(name).changed(changes), metrics=metrics)
    assert history.records["largest"].values[0] == 0
    assert history.records["largest"].values[1] > 0
