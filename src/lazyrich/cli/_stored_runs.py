"""A stored experiment as records that can be diagnosed, with what is sampled again."""

import json
import math
from dataclasses import replace
from typing import Literal

import jax
import numpy as np
import numpy.typing as npt

from lazyrich._base import InputError
from lazyrich.diagnosis import Labels, Optimization, RunRecords
from lazyrich.kernels import ntk
from lazyrich.sweeps import Outcome
from lazyrich.sweeps.store._key import present_form
from lazyrich.theory import committee_kernel, weight_moments
from lazyrich.training import Alignment, CommitteeExperiment, Experiment, Inputs, KernelMovement

_KINDS = {f"lazyrich.training.{kind.__name__}": kind for kind in (Experiment, CommitteeExperiment)}
_SMALL = 2000
"""Most training rows for which the closed form of the linearized network is computed."""


def records_of(outcome: Outcome) -> RunRecords:
    """The curves of a stored run, with labels and kernel at the start sampled again.

    Args:
        outcome: from a store.

    Raises:
        InputError: if it failed, or has no losses.
    """
    if not len(outcome.steps):
        raise InputError("The run failed and recorded nothing; see `lazyrich show`.")
    curves = {name: one.values for name, one in outcome.records.items() if one.values.ndim == 1}
    if "centered_alignment" not in curves and "population_centered_alignment" in curves:
        curves["centered_alignment"] = curves["population_centered_alignment"]
    kind = _KINDS.get(outcome.experiment)
    if kind is None:
        note = "It is not an experiment of lazyrich, so nothing could be sampled again."
        return RunRecords(outcome.steps, curves, notes=(note,))
    try:
        settings = present_form(json.loads(outcome.config))
        experiment = kind.from_json(json.dumps(settings))
        return _completed(experiment, np.asarray(outcome.steps), curves)
    except InputError as error:
        note = f"Its data could not be sampled again: {error}"
        return RunRecords(outcome.steps, curves, notes=(note,))


def _completed(
    experiment: Experiment | CommitteeExperiment, steps: np.ndarray, curves: dict[str, np.ndarray]
) -> RunRecords:
    notes: list[str] = []
    with jax.enable_x64(True):
        inputs = experiment.sample({})
        if isinstance(experiment, CommitteeExperiment):
            if "linearized_train_loss" not in curves and experiment.n_train <= _SMALL:
                curves |= _linearized(experiment, inputs, steps)
                notes.append("The linearized network was computed from the kernel at the start.")
            return _of_committee(experiment, inputs, RunRecords(steps, curves, notes=tuple(notes)))
        return _of_network(experiment, inputs, RunRecords(steps, curves))


def _linearized(
    experiment: CommitteeExperiment, inputs: Inputs, steps: np.ndarray
) -> dict[str, np.ndarray]:
    """Its closed form, which the run's own steps are no part of."""
    whole = experiment.changed({"linearized": True, "has_split": False})
    found = whole.finish(inputs, steps, {"displacement/square": np.zeros(len(steps))})
    return {name: curve for name, curve in found.items() if name[:10] == "linearized"}


def _of_committee(experiment: CommitteeExperiment, inputs: Inputs, run: RunRecords) -> RunRecords:
    data, start, share = inputs.data, weight_moments(inputs.params0), math.nan
    if experiment.n_probe:
        x = data.x_test[: experiment.n_probe]
        share = _centered_share(
            committee_kernel(
                start,
                x=x,
                width=experiment.width,
                alpha=experiment.alpha,
                epsilon=experiment.epsilon,
            )
        )
    rate = experiment.learning_rate * experiment.width / experiment.alpha**2
    return replace(
        run,
        labels=_labels(data.y, "mse"),
        test_labels=_labels(data.y_test, "mse"),
        initial_outputs=np.zeros((len(data.y), 1)) if experiment.center else None,
        centered_share=share,
        optimization=Optimization(rate, 0.0),
    )


def _of_network(experiment: Experiment, inputs: Inputs, run: RunRecords) -> RunRecords:
    net, data, scaling = experiment.net, inputs.data, experiment.scaling
    hyper = {name: getattr(net, name) for name in net.dynamic_hyperparameters}
    predict, params0 = net.predictor(**hyper), jax.device_put(inputs.params0)
    labels = _labels(data.y, experiment.loss)
    outputs0 = np.zeros_like(labels.values)
    if not scaling.center:
        values = np.asarray(predict(params0, data.x), float).reshape(labels.values.shape)
        outputs0 = scaling.alpha * values
    share = math.nan
    measured = {
        metric.kind: metric
        for metric in experiment.metrics
        if isinstance(metric, Alignment | KernelMovement)
    }
    if measured:
        metric = measured.get("alignment", *measured.values())
        x = data.x_test if metric.points == "test" else data.x
        share = _centered_share(ntk(predict, params0, x[: metric.n_points], trace_outputs=True))
    optimizer = experiment.optimizer
    rate, decay = optimizer.rate_and_decay(scaling.alpha)
    return replace(
        run,
        labels=labels,
        test_labels=_labels(data.y_test, experiment.loss),
        initial_outputs=outputs0,
        centered_share=share,
        optimization=Optimization(rate, decay, optimizer.kind != "gradient_descent"),
    )


def _labels(y: npt.ArrayLike, loss: Literal["mse", "cross_entropy"]) -> Labels:
    values = np.asarray(y, float)
    return Labels(values.reshape(len(values), -1), loss)


def _centered_share(kernel: npt.ArrayLike) -> float:
    """‖HKH‖/‖K‖, what is left of a kernel if it is centred over rows."""
    values = np.asarray(kernel, float)
    centered = values - values.mean(0)
    centered = centered - centered.mean(1, keepdims=True)
    size = float(np.linalg.norm(values))
    return float(np.linalg.norm(centered)) / size if size else math.nan
