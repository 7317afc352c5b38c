"""The cases of the training benchmark: nets, data, optimizers, and the work of one step."""

import dataclasses
from itertools import pairwise

import jax
import numpy as np

from lazyrich.nets import MLPNet, TransformerNet

MODULUS = 113


@dataclasses.dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        net: settings of the net.
        weight_scale: σ of the initial parameters.
        loss: name of the loss.
        learning_rate: of AdamW.
        betas: of AdamW.
        weight_decay: of AdamW.
        batch_size: rows of one step; None for all.
        n_steps: steps in one timing.
        bar: how many times faster than which peers a step must be.
        peers: the sides that count for the bar.
        flops: floating point operations of the matrix products that one step needs.
    """

    net: MLPNet | TransformerNet
    weight_scale: float
    loss: str
    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float
    batch_size: int | None
    n_steps: int
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
CASES = {
    "student_teacher": Case(
        net=MLPNet(widths=(100, 100), activation="tanh"),
        weight_scale=2.0,
        loss="mean_squared_error",
        learning_rate=3e-4,
        betas=(0.9, 0.999),
        weight_decay=0.05,
        batch_size=None,
        n_steps=1000,
        bar=3.0,
        peers=TORCH[:1],
        flops=mlp_flops((5, 100, 100, 5), 100),
    ),
    "mnist_mlp": Case(
        net=MLPNet(widths=(200, 200)),
        weight_scale=1.0,
        loss="mean_squared_error",
        learning_rate=1e-3,
        betas=(0.9, 0.999),
        weight_decay=0.01,
        batch_size=200,
        n_steps=200,
        bar=1.2,
        peers=TORCH,
        flops=mlp_flops((784, 200, 200, 10), 200),
    ),
    "transformer": Case(
        net=TransformerNet(d_model=128, n_heads=4, d_mlp=512),
        weight_scale=1.0,
        loss="cross_entropy",
        learning_rate=1e-3,
        betas=(0.9, 0.98),
        weight_decay=1.0,
        batch_size=None,
        n_steps=8,
        bar=2.5,
        peers=TORCH,
        flops=transformer_flops(int(0.3 * MODULUS**2), 3, MODULUS + 1, 128, 512, MODULUS),
    ),
}


def problem(name):
    """Initial parameters, inputs and targets of a case, float32, and rows of each batch."""
    rng = np.random.default_rng(0)
    case = CASES[name]
    if name == "student_teacher":
        x = rng.normal(size=(100, 5)).astype(np.float32)
        teacher = case.net.init(jax.random.key(1), n_inputs=5, n_outputs=5)
        y = np.asarray(case.net.predictor()(teacher, x))
    elif name == "mnist_mlp":
        x = rng.random(size=(1000, 784)).astype(np.float32)
        y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 1000)]
    else:
        pairs = rng.permutation(MODULUS**2)[: int(0.3 * MODULUS**2)]
        x = np.stack([pairs // MODULUS, pairs % MODULUS, np.full(len(pairs), MODULUS)], 1)
        y = np.eye(MODULUS, dtype=np.float32)[x[:, :2].sum(1) % MODULUS]
    params = case.net.init(
        jax.random.key(0),
        n_inputs=x.shape[1],
        n_outputs=y.shape[1],
        vocabulary=MODULUS + 1 if case.net.takes == "tokens" else None,
        weight_scale=case.weight_scale,
    )
    epochs = [rng.permutation(len(x)) for _ in range(200)]
    batches = np.concatenate(epochs).reshape(-1, case.batch_size or len(x))
    return params, x, y, batches[: max(case.n_steps, 20)]
