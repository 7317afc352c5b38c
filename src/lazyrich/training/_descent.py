"""Full-batch descent of any predictor on the mean squared error, recorded as it goes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from lazyrich._ground import Params, Predictor, Status, require_finite, require_steps


class Descent(NamedTuple):
    """What a run left at its save points.

    Attributes:
        steps: optimizer updates.
        train_loss: mean squared error on the training points, label units².
        observed: what ``observe`` returned, with a leading axis of save points.
        params: parameters after the last step.
        status: a ``Status`` as a number; ``diverged`` if a loss stopped being finite.
    """

    steps: Int[Array, " s"]
    train_loss: Float[Array, " s"]
    observed: Any
    params: Params
    status: Int[Array, ""]


def _nothing(params: Params) -> None:
    del params


def descend(
    predict: Predictor,
    params0: Params,
    *,
    x: Float[Array, "n ..."],
    y: Float[Array, "n ..."],
    optimizer: optax.GradientTransformation,
    save_steps: Sequence[int] | np.ndarray,
    observe: Callable[[Params], Any] = _nothing,
) -> Descent:
    """Train a predictor by full-batch gradient descent on (1/n) Σ (f(x) − y)².

    Args:
        predict: any predictor, already scaled if it is to be.
        params0: where to start.
        x: inputs.
        y: labels of the shape of the outputs, label units.
        optimizer: from optax, such as ``optax.sgd(learning_rate)``.
        save_steps: increasing step numbers to record, 0 = before the first update.
        observe: what else to record from the parameters; pass the same function again
            to reuse the compiled loop.

    Returns:
        The losses and observations at the save points, and the last parameters.

    Raises:
        InputError: if the data hold a NaN or an infinity, or the save steps do not increase.

    Example:
        >>> x = jnp.linspace(-1.0, 1.0, 8)
        >>> run = descend(lambda w, x: w * x, jnp.array(0.0), x=x, y=3 * x,
        ...               optimizer=optax.sgd(0.5), save_steps=np.array([0, 50]))
        >>> round(float(run.params), 3)
        3.0
    """
    require_finite(x=x, y=y)
    steps = require_steps(save_steps)
    return _descend(params0, x, y, steps, predict=predict, optimizer=optimizer, observe=observe)


@partial(jax.jit, static_argnames=("predict", "optimizer", "observe"))
@jax.default_matmul_precision("highest")  # GPUs would round float32 products to TF32
def _descend(
    params0: Params,
    x: Array,
    y: Array,
    steps: Int[Array, " s"],
    *,
    predict: Predictor,
    optimizer: optax.GradientTransformation,
    observe: Callable[[Params], Any],
) -> Descent:
    def loss(params):
        return jnp.square(predict(params, x) - y).mean()

    def step(_, carry):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    def segment(carry, n_steps):
        carry = jax.lax.fori_loop(0, n_steps, step, carry)
        return carry, (loss(carry[0]), observe(carry[0]))

    (params, _), (train_loss, observed) = jax.lax.scan(
        segment, (params0, optimizer.init(params0)), jnp.diff(steps, prepend=0)
    )
    status = jnp.where(jnp.isfinite(train_loss).all(), Status.ok, Status.diverged)
    return Descent(steps, train_loss, observed, params, status)
