"""The cases of the training benchmark: nets, data, optimizers, and the work of one step."""

import dataclasses
from itertools import pairwise

import jax
import numpy as np

from lazyrich.models import MLPNet, TransformerNet
from lazyrich.tasks import ImageTask, ModularTask, TaskData, TeacherTask
from lazyrich.training import AdamW, Experiment, Scaling

N_EQUAL = 20
"""Steps whose losses must agree before anything is timed."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        experiment: what a user would train; its number of steps is that of one timing.
        bar: how many times faster than the peers a step must be.
        peers: the sides that count for the bar.
        flops: floating point operations of the matrix products that one step needs.
    """

    experiment: Experiment
    bar: float
    peers: tuple[str, ...]
    flops: float


def mlp_flops(sizes, n_rows):
    """Forward, weight gradients, and input gradients of all layers but the first."""
    products = [a * b for a, b in pairwise(sizes)]
    return 2 * n_rows * (3 * sum(products) - products[0])


def transformer_flops(n_rows, n_tokens, vocabulary, d, h, c):
    """What the last position needs; tables of keys, values, queries and scores are small."""
    for_each_row = 2 * d * h + d * d + d * c + 2 * n_tokens * d
    tables = vocabulary * ((2 * n_tokens + 1) * d * d + n_tokens * vocabulary * d)
    return 3 * 2 * (n_rows * for_each_row + tables)


TORCH = ("torch eager", "torch fused", "torch compiled")
PLAIN = {"scaling": Scaling(center=False), "metrics": ()}
CASES = {
    "student_teacher": Case(
        Experiment(
            task=TeacherTask(dim=5, widths=(100, 100), target_dim=5, n_train=100, n_test=100),
            net=MLPNet(widths=(100, 100), activation="tanh"),
            optimizer=AdamW(learning_rate=3e-4, weight_decay=0.05),
            scaling=Scaling(center=False, weight_scale=2.0),
            metrics=(),
            n_steps=1000,
        ),
        bar=3.0,
        peers=TORCH[:1],
        flops=mlp_flops((5, 100, 100, 5), 100),
    ),
    # The engine takes the task's settings, here digits, but not its data: random numbers
    # of MNIST's size do as well, and need no files.
    "mnist_mlp": Case(
        Experiment(
            task=ImageTask(source="digits", n_train=1000, n_test=500),
            net=MLPNet(widths=(200, 200)),
            optimizer=AdamW(learning_rate=1e-3, weight_decay=0.01, batch_size=200),
            n_steps=200,
            **PLAIN,
        ),
        bar=1.2,
        peers=TORCH,
        flops=mlp_flops((784, 200, 200, 10), 200),
    ),
    "transformer": Case(
        Experiment(
            task=ModularTask(modulus=113, fraction=0.3, inputs="tokens"),
            net=TransformerNet(d_model=128, n_heads=4, d_mlp=512),
            optimizer=AdamW(learning_rate=1e-3, b2=0.98, weight_decay=1.0),
            loss="cross_entropy",
            n_steps=6,
            **PLAIN,
        ),
        bar=2.5,
        peers=TORCH,
        flops=transformer_flops(round(0.3 * 113**2), 3, 114, 128, 512, 113),
    ),
}


def problem(name):
    """Initial parameters, data and dials of a case, in double precision for every side."""
    experiment = CASES[name].experiment
    inputs = experiment.changed({"precision": "float64"}).sample({})
    if name != "mnist_mlp":
        return inputs
    rng = np.random.default_rng(0)
    x, x_test = (rng.random((n, 784)) for n in (1000, 500))
    y, y_test = (np.eye(10)[rng.integers(0, 10, n)] for n in (1000, 500))
    with jax.enable_x64(True):
        params0 = experiment.net.init(jax.random.key(0), n_inputs=784, n_outputs=10)
    return inputs._replace(params0=params0, data=TaskData(x, y, x_test, y_test))


def batches(name, inputs, n_steps):
    """The rows of each step, in the order in which our engine takes them; None for all."""
    size, n = CASES[name].experiment.optimizer.batch_size, len(inputs.data.x)
    if size is None:
        return None
    orders = []
    for epoch in range(-(-n_steps * size // n)):
        key = jax.random.fold_in(inputs.key, epoch)
        orders.append(np.asarray(jax.random.permutation(key, n))[: n // size * size])
    return np.concatenate(orders).reshape(-1, size)
