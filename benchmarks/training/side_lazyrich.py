"""Our side of the training benchmark: steps in one compiled loop, parameters in place."""

import sys
from functools import partial

import _worker
import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lazyrich import training


def prepare(name, path, is_double, n_steps):
    """A function that makes n steps from the start, and one that goes on from there."""
    case = cases.CASES[name]
    dtype = jnp.float64 if is_double else jnp.float32
    params, x, y, batches = _worker.load(path, name)

    def cast(a):
        return jnp.asarray(a, dtype if np.issubdtype(a.dtype, np.floating) else jnp.int32)

    params, x, y, batches = jax.tree.map(cast, (params, x, y, batches))
    predict, loss_of = case.net.predictor(), getattr(training, case.loss)
    optimizer = optax.adamw(case.learning_rate, *case.betas, weight_decay=case.weight_decay)

    @partial(jax.jit, donate_argnums=0)
    @jax.default_matmul_precision("highest")
    def steps(carry, x, y, batches):
        def step(k, carry):
            params, state, losses = carry
            rows = batches[k % len(batches)]
            here, labels = (x, y) if case.batch_size is None else (x[rows], y[rows])
            value, gradient = jax.value_and_grad(lambda p: loss_of(predict(p, here), labels))(
                params
            )
            updates, state = optimizer.update(gradient, state, params)
            return optax.apply_updates(params, updates), state, losses.at[k].set(value)

        return jax.lax.fori_loop(0, n_steps, step, carry)

    losses = jnp.zeros(n_steps, dtype)
    held = [jax.tree.map(jnp.copy, (params, optimizer.init(params), losses))]

    def run():
        held[0] = jax.block_until_ready(steps(held[0], x, y, batches))
        return np.asarray(held[0][2])

    return run


if __name__ == "__main__":
    name, path = sys.argv[1:3]
    with jax.enable_x64(True):
        curve = prepare(name, path, True, _worker.N_EQUAL)()
    _worker.serve(curve, lambda: prepare(name, path, False, cases.CASES[name].n_steps))
