"""Networks whose regime is known by construction, diagnosed through JAX: committee and MLP.

The cases are made as those of ``zoo.py``, with other seeds and other tasks; thresholds were
chosen before, on PyTorch. Stops after --seconds of
processor time and goes on from there the next time.

    python benchmarks/diagnosis/zoo_jax.py
"""

import argparse
import itertools
import json
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from zoo import DIM, N_STEPS, RESULTS, Case, N

import lazyrich as lz
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
    order = np.random.default_rng(0).permutation(len(found))
    return [found[k] for k in order]


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
    rows = []
    for when, params in (("fit", fitted), ("end", last)):
        if params is None:
            continue
        row = {**case._asdict(), "truth": case.truth, "when": when}
        row["remaining_loss"] = remaining if np.isfinite(remaining) else 1e30
        try:
            found = lz.diagnose(predict, params0, params, x, y, loss=case.loss)
        except lz.InputError as error:
            rows.append({**row, "regime": "refused", "reason": str(error)})
            continue
        row |= {"regime": str(found.regime), "reason": found.reason}
        for name in ("linearization_gap", "kernel_cosine", "kernel_growth", "parameter_change"):
            one = found.readings[name]
            row[name] = [
                round(value, 6) if np.isfinite(value) else None
                for value in (one.value, one.low, one.high)
            ]
        rows.append(row)
    return rows


def main() -> None:
    """Measure, and write down after each case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120)
    given, chosen, path = parser.parse_args(), cases(), RESULTS / f"{HALF}.json"
    before: Any = json.loads(path.read_text()) if path.exists() else {"n_cases": 0, "rows": []}
    rows: list[dict[str, Any]] = before["rows"]
    for n, case in enumerate(chosen[before["n_cases"] :], before["n_cases"] + 1):
        if time.process_time() > given.seconds:
            break
        rows += measured(case)
        result = {"jax": jax.__version__, "n_cases": n, "n_all": len(chosen), "rows": rows}
        path.write_text(json.dumps(result, indent=0) + "\n")
        print(n, len(chosen), round(time.process_time()), case[1:], rows[-1]["regime"], flush=True)


if __name__ == "__main__":
    main()
