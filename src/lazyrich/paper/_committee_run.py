"""One seed of the committee machine, measured as Figures 1 and 4 need it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from lazyrich import kernels
from lazyrich._ground import InputError, Status, require_finite, require_positive
from lazyrich.nets import init_committee_machine
from lazyrich.tasks import TaskData, polynomial_regression
from lazyrich.theory import (
    Dials,
    EmpiricalLoss,
    Statistics,
    committee_kernel,
    committee_output,
    gradient_descent,
    loss_terms,
    population_alignment,
    population_centered_alignment,
    statistics,
)
from lazyrich.training import log_steps


@dataclass(frozen=True)
class CommitteeSettings:
    """A committee machine with fixed readouts on y = ½(β⋆·x)².

    Attributes:
        dim: D, number of inputs.
        width: N, number of hidden units.
        n_train: P, number of training points.
        alpha: α, output scale.
        epsilon: ε, quadratic strength of the activation.
        learning_rate: η₀ in units of N/α².
        n_steps: number of gradient-descent steps.
        centered: train α[f(θ) − f(θ₀)] (Eq. 7).
        weight_scale: σ, standard deviation of the initial weights.
        n_test: number of test points.
        n_probe: test points on which the kernel is measured; 0 measures no kernel.
        n_saves: at most how many records.
    """

    dim: int
    width: int
    n_train: int
    alpha: float
    epsilon: float
    learning_rate: float
    n_steps: int
    centered: bool = True
    weight_scale: float = 1.0
    n_test: int = 1000
    n_probe: int = 1000
    n_saves: int = 120

    def __post_init__(self) -> None:
        """Refuse settings that cannot be run."""
        scales = ("alpha", "epsilon", "learning_rate", "weight_scale")
        require_finite(**{name: getattr(self, name) for name in scales})
        sizes = ("dim", "width", "n_train", "n_steps", "n_test")
        require_positive(**{name: getattr(self, name) for name in (*scales, *sizes)})
        if not 0 <= self.n_probe <= self.n_test:
            raise InputError(
                f"n_probe is {self.n_probe}; the kernel is measured on test points, of which "
                f"there are {self.n_test}: choose 0 to {self.n_test}."
            )


# name: (unit, long name). The dataset's variables, each over (seed, step).
CURVES = {
    "train_loss": ("label units²", "train loss"),
    "test_loss": ("label units²", "test loss"),
    "test_loss_error": ("label units²", "standard error of the test loss"),
    "twin_train_loss": ("label units²", "train loss of the linearised twin"),
    "twin_test_loss": ("label units²", "test loss of the linearised twin"),
    "variance": ("label units²", "variance error (Eq. 6)"),
    "misalignment": ("label units²", "misalignment error (Eq. 6)"),
    "linear": ("label units²", "power in linear modes (Eq. 6)"),
    "weight_norm": ("", "weight norm"),
    "target_moment": ("", "βᵀMβ/‖β‖²"),
    "population_alignment": ("", "alignment over all inputs, not centred (Eq. 19)"),
    "population_centered_alignment": ("", "alignment over all inputs, centred"),
    "alignment": ("", "alignment of the kernel on test points (paper, §5)"),
    "chance_alignment": ("", "alignment of a random label"),
    "debiased_alignment": ("", "debiased alignment"),
}


class _Inputs(NamedTuple):
    """Everything one seed starts from, in double precision."""

    data: TaskData
    weights: Array
    start: Statistics
    output0: Array  # what the network outputs before training, on train and test points
    test_output0: Array


def committee_run(
    settings: CommitteeSettings, seed: int, tick: Callable[[], None] = lambda: None
) -> xr.Dataset:
    """Train one seed and measure it at every record.

    The descent runs in float32 on the weights' displacement; kernels are formed and
    decomposed in float64, because the quadratic modes that matter lie up to 10⁵ below
    the top of the spectrum.

    Args:
        settings: what to run.
        seed: of the data and the initial weights, which get keys of their own.
        tick: called once for every record, from any thread.

    Returns:
        A dataset with the dimension ``step``; its variables are those of ``CURVES``,
        ``kernel_regression_loss`` and ``status``.
    """
    with jax.enable_x64(True):
        inputs = _draw(settings, seed)
        dials = Dials(settings.alpha, settings.epsilon, settings.learning_rate)
        single: Any = jax.tree.map(lambda a: a.astype(jnp.float32), inputs)
        run = gradient_descent(
            single.weights,
            EmpiricalLoss(single.data.x, single.data.y),
            dials=dials,
            save_steps=log_steps(settings.n_steps, settings.n_saves),
            centered=settings.centered,
            observe=_observer(tick),
        )
        # A diverged run is measured as it is: what is not finite stays not finite.
        curves = _measure(settings, single, run.observed) | _twin(settings, inputs, run.steps)
        curves["train_loss"] = run.train_loss
        line = curves.pop("kernel_regression_loss")
        return _dataset(run.steps, curves, line, run.status)


def _draw(settings: CommitteeSettings, seed: int) -> _Inputs:
    data_key, init_key = jax.random.split(jax.random.key(seed))
    data = polynomial_regression(
        data_key, dim=settings.dim, n_train=settings.n_train, n_test=settings.n_test
    )
    params = init_committee_machine(
        init_key, settings.width, dim=settings.dim, weight_scale=settings.weight_scale
    )
    start = statistics(params.weights)

    def output(x):
        if settings.centered:
            return jnp.zeros(len(x))
        return committee_output(start, x, alpha=settings.alpha, epsilon=settings.epsilon)

    return _Inputs(data, params.weights, start, output(data.x), output(data.x_test))


def _observer(tick: Callable[[], None]) -> Callable[[Statistics], Statistics]:
    def observe(stats: Statistics) -> Statistics:
        jax.debug.callback(tick)
        return stats

    return observe


@partial(jax.jit, static_argnums=0)
def _measure(settings: CommitteeSettings, inputs: _Inputs, history: Statistics) -> dict[str, Array]:
    """Everything that the statistics at the records decide."""
    data, start = inputs.data, inputs.start
    alpha, epsilon = settings.alpha, settings.epsilon
    beta = data.target[0]

    def at(stats: Statistics) -> dict[str, Array]:
        seen = jax.tree.map(jnp.subtract, stats, start) if settings.centered else stats
        squares = jnp.square(
            committee_output(seen, data.x_test, alpha=alpha, epsilon=epsilon) - data.y_test
        )
        measured = {
            "test_loss": squares.mean(),
            "test_loss_error": squares.std() / jnp.sqrt(len(squares)),
            "weight_norm": jnp.sqrt(settings.width * jnp.trace(stats.second_moment)),
            "target_moment": beta @ stats.second_moment @ beta / (beta @ beta),
        }
        if settings.n_probe:
            x, y = data.x_test[: settings.n_probe], data.y_test[: settings.n_probe]
            kernel = committee_kernel(stats, x, alpha=alpha, epsilon=epsilon, width=settings.width)
            measured["alignment"] = kernels.alignment(kernel, y)
            measured["chance_alignment"] = kernels.chance_alignment(kernel)
            measured["debiased_alignment"] = kernels.debiased_alignment(kernel, y)
        return measured

    curves = jax.lax.map(at, history)
    subtracted = start if settings.centered else None
    terms = loss_terms(history, beta, alpha=alpha, epsilon=epsilon, start=subtracted)
    over_inputs = {
        "population_alignment": population_alignment,
        "population_centered_alignment": population_centered_alignment,
    }
    for name, alignment in over_inputs.items():
        curves[name] = alignment(history, beta, epsilon=epsilon).ratio
    return curves | terms._asdict()


@partial(jax.jit, static_argnums=0)
def _twin(settings: CommitteeSettings, inputs: _Inputs, steps: Array) -> dict[str, Array]:
    """Losses of the linearised twin, and of kernel regression, with the initial kernel."""
    data = inputs.data

    def kernel(x):
        return committee_kernel(
            inputs.start,
            x,
            data.x,
            alpha=settings.alpha,
            epsilon=settings.epsilon,
            width=settings.width,
        )

    train_kernel, query_kernel = kernel(data.x), kernel(data.x_test)
    wanted = data.y - inputs.output0
    test_wanted = data.y_test - inputs.test_output0
    twin = kernels.lazy_dynamics(
        train_kernel,
        wanted,
        steps,
        learning_rate=settings.learning_rate * settings.width / settings.alpha**2,
        query_kernel=query_kernel,
    )
    regression = kernels.kernel_regression(train_kernel, wanted, query_kernel)
    assert twin.query is not None
    return {
        "twin_train_loss": jnp.square(twin.train - wanted).mean(-1),
        "twin_test_loss": jnp.square(twin.query - test_wanted).mean(-1),
        "kernel_regression_loss": jnp.square(regression - test_wanted).mean(),
    }


def _dataset(steps: Array, curves: dict[str, Array], line: Array, status: Array) -> xr.Dataset:
    dataset = xr.Dataset(
        {
            name: ("step", np.asarray(curve, np.float64), _attrs(*CURVES[name]))
            for name, curve in curves.items()
        },
        coords={"step": ("step", np.asarray(steps), _attrs("steps", "gradient-descent step"))},
    )
    attrs = _attrs("label units²", "test loss of kernel regression with the initial kernel")
    dataset["kernel_regression_loss"] = ((), float(line), attrs)
    names = ", ".join(f"{status.value} {status.name}" for status in Status)
    dataset["status"] = ((), int(status), _attrs("", f"how the run ended: {names}"))
    return dataset


def _attrs(unit: str, long_name: str) -> dict[str, str]:
    return {"units": unit or "1", "long_name": long_name}
