"""The curves of the page's first view, from Python: what the page has to agree with."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from explorer.play_settings import PlaySettings
from lazyrich import kernels, theory
from lazyrich.models import CommitteeNet
from lazyrich.tasks import PolynomialTask, TaskData
from lazyrich.training import PrintedDraw
from lazyrich.training._printed import printed_polynomial, printed_weights

N_TEST, N_PROBE = 1000, 100


def play_curves(settings: PlaySettings, steps: np.ndarray) -> dict[str, np.ndarray]:
    """What the page draws, in double precision, by the functions of ``lazyrich.theory``.

    Args:
        settings: of the run.
        steps: where to measure, increasing from 0.

    Returns:
        By name: train and test loss, the three terms of Eq. 6, the weight norm in units of
        its start, the alignment with its chance level on test points, the alignment over
        all inputs, βᵀMβ/‖β‖², train and test loss of the linearized network, and the test
        loss of regression with the initial kernel, one number.
    """
    with jax.enable_x64(True):
        data, weights = _sample(settings)
        found = _nonlinear(settings, data, weights, steps)
        found |= _linearized(settings, data, weights, steps)
        return {name: np.asarray(values) for name, values in found.items()}


def _sample(settings: PlaySettings) -> tuple[TaskData, Array | None]:
    if settings.keys is not None and settings.width is not None:
        inputs, test, target, weight = settings.keys
        draw = PrintedDraw(
            input_key=inputs, test_key=test, target_keys=(target,), weight_keys=(weight,)
        )
        weights = printed_weights(draw, width=settings.width, dim=settings.dim)
        data = printed_polynomial(draw, dim=settings.dim, n_train=settings.n_train, n_test=N_TEST)
        return data, settings.weight_scale * weights
    task = PolynomialTask(dim=settings.dim, n_train=settings.n_train, n_test=N_TEST)
    data = task.sample(settings.seed)
    key = jax.random.key(settings.seed)
    errors = jax.random.normal(jax.random.fold_in(key, 4), data.y.shape)
    data = data._replace(y=data.y + settings.noise * errors)
    if settings.width is None:
        return data, None
    params = CommitteeNet(width=settings.width).init(
        jax.random.fold_in(key, 2),
        n_inputs=settings.dim,
        n_outputs=None,
        weight_scale=settings.weight_scale,
    )
    return data, params.weights


def _nonlinear(
    settings: PlaySettings, data: TaskData, weights: Array | None, steps: np.ndarray
) -> dict[str, Any]:
    alpha, epsilon = settings.alpha, settings.epsilon
    moments0 = _moments(settings, weights)
    trajectory = theory.gradient_descent(
        moments0 if weights is None else weights,
        theory.EmpiricalLoss(data.x, data.y),
        hyperparameters=theory.DynamicHyperparameters(
            alpha, epsilon, settings.learning_rate, settings.momentum
        ),
        eval_steps=steps,
        query=theory.EmpiricalLoss(data.x_test, data.y_test),
        centered=settings.center,
    )
    moments, beta = trajectory.observed, data.target[0]
    terms = theory.loss_terms(
        moments,
        beta,
        alpha=alpha,
        epsilon=epsilon,
        start=moments0 if settings.center else None,
    )
    trace = jnp.trace(moments.second_moment, axis1=-2, axis2=-1)
    x, y = data.x_test[:N_PROBE], data.y_test[:N_PROBE]

    def kernel(now: theory.WeightMoments) -> Array:
        return theory.committee_kernel(now, x, alpha=alpha, epsilon=epsilon, width=1)

    finite = [k for k, loss in enumerate(trajectory.train_loss) if np.isfinite(loss)]
    now = [kernel(jax.tree.map(lambda leaf, k=k: leaf[k], moments)) for k in finite]
    return {
        "train_loss": trajectory.train_loss,
        "test_loss": trajectory.query_loss,
        **{f"{name}_term": term for name, term in terms._asdict().items()},
        "weight_norm": jnp.sqrt(trace / trace[0]),
        "alignment": np.array([kernels.alignment(one, y) for one in now]),
        "chance_alignment": np.array([kernels.chance_alignment(one) for one in now]),
        "population_alignment": theory.population_alignment(moments, beta, epsilon=epsilon).ratio,
        "target_moment": jnp.einsum("a,sab,b->s", beta, moments.second_moment, beta)
        / (beta @ beta),
    }


def _linearized(
    settings: PlaySettings, data: TaskData, weights: Array | None, steps: np.ndarray
) -> dict[str, Any]:
    moments0 = _moments(settings, weights)
    scales = {"alpha": settings.alpha, "epsilon": settings.epsilon}

    def targets(x: Array, y: Array) -> Array:
        return y if settings.center else y - theory.committee_output(moments0, x, **scales)

    def kernel(x: Array) -> Array:
        return theory.committee_kernel(moments0, x, data.x, width=1, **scales)

    train, test = targets(data.x, data.y), targets(data.x_test, data.y_test)
    linearized = kernels.lazy_dynamics(
        kernel(data.x),
        train,
        jnp.asarray(steps),
        learning_rate=settings.learning_rate / settings.alpha**2,
        query_kernel=kernel(data.x_test),
        momentum=settings.momentum,
    )
    regression = kernels.kernel_regression(kernel(data.x), train, kernel(data.x_test))
    assert linearized.query is not None
    return {
        "linearized_train_loss": jnp.square(linearized.train - train).mean(-1),
        "linearized_test_loss": jnp.square(linearized.query - test).mean(-1),
        "kernel_regression_loss": jnp.square(regression - test).mean(),
    }


def _moments(settings: PlaySettings, weights: Array | None) -> theory.WeightMoments:
    if weights is None:
        return theory.infinite_width(settings.dim, weight_scale=settings.weight_scale)
    return theory.weight_moments(weights)
