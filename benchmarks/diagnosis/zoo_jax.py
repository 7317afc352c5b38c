"""Networks whose regime is known by construction, diagnosed through JAX: committee and MLP.

The cases are made as those of ``zoo.py``, with other seeds and other tasks; thresholds were
chosen before, on PyTorch. Stops after --seconds of
processor time and goes on from there the next time.

    python benchmarks/diagnosis/zoo_jax.py
"""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cases import DIM, N_STEPS, Case, N, arguments, measure_all, row, shuffled

import lazyrich as lz
from lazyrich.diagnosis import Diagnosis
from lazyrich.models import CommitteeNet, MLPNet

HALF = "jax"
NETS = {
    "committee": lambda width: CommitteeNet(width=width, epsilon=1.0),
    "MLP tanh": lambda width: MLPNet(widths=(width, width), activation="tanh"),
}


def cases() -> list[Case]:
    """All, in a fixed random order."""
    found = []
    for architecture, loss, optimizer, seed in itertools.product(
        NETS, ("mse", "cross_entropy"), ("sgd", "adam"), (20, 21)
    ):
        if architecture == "committee" and loss == "cross_entropy":
            continue  # it has one output
        of = (HALF, architecture, loss, optimizer)
        found += [Case(*of, "scaled", a, 64, seed) for a in (0.01, 0.1, 1.0, 10.0, 100.0, 1e4)]
        found.append(Case(*of, "linearized", 1.0, 64, seed))
    return shuffled(found)


def data(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels of the task."""
    x = np.random.default_rng(1000 + case.seed).normal(size=(N, DIM)).astype(np.float32)
    value = (x[:, 0] * x[:, 1]) ** 2 if case.architecture != "committee" else x[:, 0] ** 2
    value = (value - value.mean()) / value.std()
    return x, (value > 0).astype(int) if case.loss == "cross_entropy" else value


def build(case: Case) -> tuple[Any, Any]:
    """The predictor and its parameters at the start."""
    net = NETS[case.architecture](case.width)
    params0 = net.init(
        jax.random.key(case.seed),
        n_inputs=DIM,
        n_outputs=2 if case.loss == "cross_entropy" else None,
        vocabulary=None,
        weight_scale=1.0,
    )
    names = net.dynamic_hyperparameters
    predict = net.predictor(**{name: getattr(net, name) for name in names})
    if case.kind == "linearized":
        return lz.linearize(predict, params0), params0
    return lz.scale_output(predict, params0, case.alpha), params0


def train(case: Case, predict: Any, params0: Any, x: Any, y: Any) -> tuple[Any, Any, float]:
    """Parameters when the labels are fitted (None if they never are), at the end, and its loss."""

    def loss(params: Any) -> Any:
        outputs = predict(params, x)
        if case.loss == "cross_entropy":
            return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()
        return jnp.square(outputs - y).mean()

    rate = 0.01 / max(case.alpha, 1.0)
    if case.optimizer == "sgd":
        width = case.width if case.architecture == "committee" else 5  # mean-field outputs
        rate = 0.02 * width / (case.alpha**2 if case.alpha >= 1 else case.alpha)
    elif case.architecture == "committee":
        rate *= 10
    optimizer = optax.sgd(rate) if case.optimizer == "sgd" else optax.adam(rate)

    @jax.jit
    def run(params: Any) -> Any:
        first = loss(params)

        def step(carry: Any, _: None) -> Any:
            params, state, fitted, is_fitted = carry
            value, gradient = jax.value_and_grad(loss)(params)
            is_new = (value < 0.1 * first) & ~is_fitted
            fitted = jax.tree.map(lambda a, b: jnp.where(is_new, a, b), params, fitted)
            update, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, update), state, fitted, is_fitted | is_new), None

        carry = (params, optimizer.init(params), params, jnp.asarray(False))
        (last, _, fitted, is_fitted), _ = jax.lax.scan(step, carry, None, N_STEPS)
        return last, fitted, is_fitted, loss(last) / first

    last, fitted, is_fitted, remaining = run(params0)
    return (fitted if bool(is_fitted) else None), last, float(remaining)


def measured(case: Case) -> list[dict[str, Any]]:
    """A case at the fit and at the end."""
    x, y = data(case)
    predict, params0 = build(case)
    fitted, last, remaining = train(case, predict, params0, jnp.asarray(x), jnp.asarray(y))

    def diagnosed(params: Any) -> Diagnosis:
        return lz.diagnose(predict, params0, params, x, y, loss=case.loss)

    checkpoints = [("end", last)] if fitted is None else [("fit", fitted), ("end", last)]
    return [row(case, when, remaining, partial(diagnosed, at)) for when, at in checkpoints]


def main() -> None:
    """Measure, and write down after each case."""
    measure_all(HALF, cases(), measured, {"jax": jax.__version__}, arguments().seconds)


if __name__ == "__main__":
    main()
