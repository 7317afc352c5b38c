"""Oracle: the contract of the engine, for every task with every net and metric that fit it."""

import itertools

import numpy as np
import pytest

from lazyrich.models import NETS, CommitteeNet, MLPNet, TransformerNet
from lazyrich.tasks import (
    TASKS,
    EigenvectorTask,
    HermiteTask,
    ImageTask,
    ModularTask,
    ParityTask,
    PermutationTask,
    PolynomialTask,
    TeacherTask,
)
from lazyrich.training import METRICS, AdamW, Experiment, GradientDescent, train, train_many

SMALL_TASKS = {
    "polynomial": PolynomialTask(dim=3, n_train=8, n_test=10),
    "hermite": HermiteTask(dim=3, n_train=8, n_test=10, degree=3),
    "eigenvector": EigenvectorTask(dim=3, n_train=8, n_test=10, index=2),
    "modular": ModularTask(modulus=5, fraction=0.6),
    "teacher": TeacherTask(dim=3, widths=(4,), target_dim=2, n_train=8, n_test=10),
    "images": ImageTask(n_train=8, n_test=10),
    "parity": ParityTask(dim=4, n_relevant=2, n_train=8, n_test=10),
    "permutations": PermutationTask(n_things=3),
}
SMALL_NETS = {
    "committee": CommitteeNet(width=4, epsilon=0.3, readouts="normal"),
    "mlp": MLPNet(widths=(4,), activation="tanh"),
    "transformer": TransformerNet(d_model=4, n_heads=2, d_mlp=4),
}


def fits(task, net):
    if net == "transformer":
        return task in ("modular", "permutations")
    return net == "mlp" or task in ("polynomial", "eigenvector")


PAIRS = [pair for pair in itertools.product(TASKS, NETS) if fits(*pair)]
QUICK = {("polynomial", "committee")}


def small(task, net):
    """Every metric that fits, on the smallest experiment there is."""
    chosen = SMALL_TASKS[task]
    if net == "transformer":
        chosen = chosen.changed({"inputs": "tokens"})
    # The alignment metric records what kernel_movement does, and more.
    skipped = {"kernel_movement"} | (
        {"terms"} if (task, net) != ("polynomial", "committee") else set()
    )
    skipped |= {"test_loss_error"} if chosen.labels == "classes" else set()
    metrics = [
        metric.model_validate({"n_points": 10} if name in ("alignment", "linearization") else {})
        for name, metric in METRICS.items()
        if name not in skipped
    ]
    return Experiment(
        task=chosen,
        net=SMALL_NETS[net],
        optimizer=(
            GradientDescent(learning_rate=0.1, momentum=0.5)
            if net == "committee"
            else AdamW(learning_rate=0.01, weight_decay=0.1, batch_size=4)
        ),
        loss="cross_entropy" if net == "transformer" else "mse",
        metrics=tuple(metrics),
        n_steps=3,
        eval_steps=(0, 3),
    )


def test_every_task_and_net_is_here():
    assert set(SMALL_TASKS) == set(TASKS)
    assert set(SMALL_NETS) == set(NETS)
    assert {task for task, _ in PAIRS} == set(TASKS)
    assert {net for _, net in PAIRS} == set(NETS)


@pytest.mark.parametrize(
    ("task", "net"),
    [pair if pair in QUICK else pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS],
)
def test_a_batch_is_a_loop_finite_and_in_the_precision_asked_for(task, net):
    one = small(task, net)
    runs = [one, one.changed({"seed": 1, "scaling.alpha": 2.0})]
    for batched, alone in zip(train_many(runs, mode="vmap"), map(train, runs), strict=True):
        assert batched.records.keys() == alone.records.keys()
        for name, record in batched.records.items():
            assert record.values.dtype == np.float32, name
            assert np.isfinite(record.values).all(), name
            assert len(record.axes) == record.values.ndim - 1
            for labels, length in zip(record.coordinates, record.values.shape[1:], strict=True):
                assert labels is None or len(labels) == length
            np.testing.assert_allclose(
                record.values, alone.records[name].values, rtol=2e-3, atol=2e-4, err_msg=name
            )
